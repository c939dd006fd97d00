#pragma once
// CPU lanes above the queue plot, on one time axis.

#include "ui/plots/queue_plot.h"
#include "ui/timeline/cpu_lanes.h"
#include "ui/timeline/time_axis.h"

#include <QWidget>

namespace skbscope::ui {

class TimelineView : public QWidget {
    Q_OBJECT

public:
    explicit TimelineView(Session* session, QWidget* parent = nullptr);

    [[nodiscard]] TimeAxis& axis() { return *m_axis; }
    [[nodiscard]] CpuLanes& lanes() { return *m_lanes; }
    [[nodiscard]] QueuePlot& plot() { return *m_plot; }

private:
    TimeAxis* m_axis;
    CpuLanes* m_lanes;
    QueuePlot* m_plot;
};

} // namespace skbscope::ui
