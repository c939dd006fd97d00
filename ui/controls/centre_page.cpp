#include "ui/controls/centre_page.h"

#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QScrollArea>

namespace skbscope::ui {

CentrePage::CentrePage(int widest, QWidget* parent) : QWidget(parent)
{
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(0, 0, 0, 0);
    auto* scroll = new QScrollArea(this);
    scroll->setWidgetResizable(true);
    scroll->setAccessibleName(tr("Page"));
    scroll->setProperty("reading", true);
    scroll->setFocusPolicy(Qt::TabFocus);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->viewport()->setAutoFillBackground(false);
    outer->addWidget(scroll);
    auto* page = new QWidget(scroll);
    page->setAutoFillBackground(false);
    scroll->setWidget(page);
    auto* row = new QHBoxLayout(page);
    row->addStretch(1);
    m_content = new QWidget(page);
    m_content->setMaximumWidth(widest);
    m_content->setMinimumWidth(320);
    row->addWidget(m_content, 6);
    row->addStretch(1);
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void CentrePage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::instance().colors().map);
}

} // namespace skbscope::ui
