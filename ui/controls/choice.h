#pragma once
// A combo box that looks like one: the style draws its field as that of a text, this adds the sign that it opens.

#include "ui/theme/theme.h"

#include <QComboBox>
#include <QPainter>

namespace skbscope::ui {

class Choice : public QComboBox {
public:
    using QComboBox::QComboBox;

protected:
    void paintEvent(QPaintEvent* event) override
    {
        QComboBox::paintEvent(event);
        QPainter painter(this);
        painter.setRenderHint(QPainter::Antialiasing);
        const Colors& c = Theme::instance().colors();
        painter.setPen(QPen(isEnabled() ? c.textMuted : c.textFaint, 1.6, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
        const QPointF centre(width() - 16, height() / 2.0 + 0.5);
        painter.drawPolyline(QPolygonF{centre + QPointF(-4, -2), centre + QPointF(0, 2), centre + QPointF(4, -2)});
    }
};

} // namespace skbscope::ui
