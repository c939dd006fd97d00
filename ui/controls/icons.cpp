#include "ui/controls/icons.h"

#include "ui/theme/theme.h"

#include <QGuiApplication>
#include <QPainter>
#include <QPainterPath>

namespace skbscope::ui {

namespace {

void triangle(QPainter& painter, QPointF a, QPointF b, QPointF c)
{
    QPainterPath path;
    path.moveTo(a);
    path.lineTo(b);
    path.lineTo(c);
    path.closeSubpath();
    painter.drawPath(path);
}

void draw(QPainter& painter, Sign sign, const QColor& color)
{
    // On a grid of 16.
    QPen pen(color, 1.6, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin);
    painter.setPen(pen);
    painter.setBrush(color);
    switch (sign) {
    case Sign::play: triangle(painter, {5, 3.4}, {12.4, 8}, {5, 12.6}); break;
    case Sign::pause:
        painter.setPen(Qt::NoPen);
        painter.drawRoundedRect(QRectF(4, 3, 3, 10), 1, 1);
        painter.drawRoundedRect(QRectF(9, 3, 3, 10), 1, 1);
        break;
    case Sign::to_begin:
        painter.drawLine(QPointF(4, 3.6), QPointF(4, 12.4));
        triangle(painter, {11.6, 4}, {6.6, 8}, {11.6, 12});
        break;
    case Sign::to_end:
        painter.drawLine(QPointF(12, 3.6), QPointF(12, 12.4));
        triangle(painter, {4.4, 4}, {9.4, 8}, {4.4, 12});
        break;
    case Sign::previous:
    case Sign::back_packet:
        painter.setBrush(Qt::NoBrush);
        painter.drawPolyline(QPolygonF({{10, 4}, {6, 8}, {10, 12}}));
        break;
    case Sign::next:
    case Sign::forward_packet:
        painter.setBrush(Qt::NoBrush);
        painter.drawPolyline(QPolygonF({{6, 4}, {10, 8}, {6, 12}}));
        break;
    case Sign::menu:
        for (const qreal y : {4.0, 8.0, 12.0}) {
            painter.drawLine(QPointF(2.5, y), QPointF(13.5, y));
        }
        break;
    case Sign::search:
        painter.setBrush(Qt::NoBrush);
        painter.drawEllipse(QPointF(7, 7), 4, 4);
        painter.drawLine(QPointF(10, 10), QPointF(13, 13));
        break;
    case Sign::close:
        painter.drawLine(QPointF(4.5, 4.5), QPointF(11.5, 11.5));
        painter.drawLine(QPointF(11.5, 4.5), QPointF(4.5, 11.5));
        break;
    }
}

} // namespace

QPixmap signPixmap(Sign sign, int pixels, const QColor& color)
{
    const qreal ratio = qGuiApp->devicePixelRatio();
    QPixmap pixmap(QSize(pixels, pixels) * ratio);
    pixmap.setDevicePixelRatio(ratio);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.scale(pixels / 16.0, pixels / 16.0);
    draw(painter, sign, color);
    return pixmap;
}

QIcon signIcon(Sign sign, int pixels)
{
    const Colors& c = Theme::instance().colors();
    QIcon icon;
    icon.addPixmap(signPixmap(sign, pixels, c.text), QIcon::Normal);
    icon.addPixmap(signPixmap(sign, pixels, c.textFaint), QIcon::Disabled);
    return icon;
}

QIcon programIcon()
{
    QIcon icon;
    for (const int size : {16, 24, 32, 48, 64, 128}) {
        QPixmap pixmap(size, size);
        pixmap.fill(Qt::transparent);
        QPainter painter(&pixmap);
        painter.setRenderHint(QPainter::Antialiasing);
        painter.scale(size / 32.0, size / 32.0);
        painter.setPen(Qt::NoPen);
        painter.setBrush(QColor("#3557D5"));
        painter.drawRoundedRect(QRectF(1, 1, 30, 30), 7, 7);
        // A queue with three packets, the first of them on its way up.
        painter.setBrush(QColor("#FFFFFF"));
        painter.drawRoundedRect(QRectF(6, 19, 5.5, 6.5), 1.5, 1.5);
        painter.drawRoundedRect(QRectF(13.25, 19, 5.5, 6.5), 1.5, 1.5);
        painter.setBrush(QColor("#F2B13C"));
        painter.drawRoundedRect(QRectF(20.5, 9, 5.5, 6.5), 1.5, 1.5);
        painter.setPen(QPen(QColor("#FFFFFF"), 1.6, Qt::SolidLine, Qt::RoundCap));
        painter.drawLine(QPointF(23.25, 25), QPointF(23.25, 18.5));
        icon.addPixmap(pixmap);
    }
    return icon;
}

} // namespace skbscope::ui
