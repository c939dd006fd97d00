#include "ui/timeline/timeline_view.h"

#include <QVBoxLayout>

namespace skbscope::ui {

TimelineView::TimelineView(Session* session, QWidget* parent)
    : QWidget(parent), m_axis(new TimeAxis(session, this)), m_lanes(new CpuLanes(session, m_axis, this)), m_plot(new QueuePlot(session, m_axis, this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0); // the playhead's line must not break
    column->addWidget(m_lanes);
    column->addWidget(m_plot, 1);
}

} // namespace skbscope::ui
