// What one frame of the map costs with many moving tokens, 1600 × 900, offscreen: the scene computed at a new playhead and
// painted. The playhead's own work (the reducer) is outside: it is measured where it lives.
#include "tests/ui/map/hand_trace.h"
#include "ui/map/map_view.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QImage>
#include <QPainter>
#include <benchmark/benchmark.h>

namespace {

using namespace skbscope;

void paintFrame(benchmark::State& state)
{
    ui::Session session(std::make_unique<TraceSource>("crowd", test::crowdTrace(static_cast<int>(state.range(0)))));
    ui::MapView map(&session);
    map.resize(1600, 900);
    QImage image(map.size(), QImage::Format_RGB32);
    std::uint64_t at = 500;
    session.seek({at});
    map.render(&image); // the fixed layer and the stamps
    std::size_t moving = 0;
    for (auto _ : state) {
        state.PauseTiming();
        at = at < 1500 ? at + 7 : 500;
        session.seek({at});
        (void)session.state();
        state.ResumeTiming();
        map.render(&image, QPoint(), QRegion(), QWidget::RenderFlags());
    }
    for (const ui::MapToken& token : map.scene().tokens()) {
        moving += token.moving ? 1 : 0;
    }
    state.counters["moving"] = static_cast<double>(moving);
}
BENCHMARK(paintFrame)->Arg(100)->Arg(1000)->Arg(5000)->Unit(benchmark::kMillisecond)->Repetitions(5)->ReportAggregatesOnly();

} // namespace

int main(int argc, char** argv)
{
    if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) {
        qputenv("QT_QPA_PLATFORM", "offscreen");
    }
    QApplication app(argc, argv);
    skbscope::ui::Theme::instance().apply(app);
    skbscope::ui::Theme::instance().setMode(ui::Theme::Mode::light);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
