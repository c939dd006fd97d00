// Paints the map and the timeline of the hand-written trace into a picture, to be looked at:
//   map_picture OUT.png WIDTH HEIGHT light|dark SHARE-OF-TIME|NANOSECONDSns map|timeline|both [SCENARIO.yaml [burst [PACKET]]]
#include "core/scenario/model_source.h"
#include "tests/ui/map/hand_trace.h"
#include "ui/map/map_view.h"
#include "ui/theme/theme.h"
#include "ui/timeline/timeline_view.h"

#include <QApplication>
#include <QVBoxLayout>

int main(int argc, char** argv)
{
    using namespace skbscope::ui;
    QApplication app(argc, argv);
    const QStringList args = app.arguments();
    auto& theme = Theme::instance();
    theme.apply(app);
    theme.setMode(args[4] == "dark" ? Theme::Mode::dark : Theme::Mode::light);
    std::unique_ptr<skbscope::Source> source;
    if (args.size() > 7) {
        auto scenario = skbscope::load_scenario(args[7].toStdString());
        if (!scenario) {
            qCritical("%s", scenario.error().describe().c_str());
            return 3;
        }
        auto model = std::make_unique<skbscope::ModelSource>(std::move(*scenario));
        if (args.value(8) == "burst") {
            (void)model->act("send_burst", {5000});
        }
        source = std::move(model);
    } else {
        source = std::make_unique<skbscope::TraceSource>("hand", skbscope::test::backlogTrace());
    }
    Session session(std::move(source));
    const QString what = args.value(6, "both");
    QWidget window;
    auto* column = new QVBoxLayout(&window);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    if (what != "timeline") {
        column->addWidget(new MapView(&session), 5);
    }
    if (what != "map") {
        column->addWidget(new TimelineView(&session), 2);
    }
    window.resize(args[2].toInt(), args[3].toInt());
    if (args[5].endsWith("ns")) {
        session.seek({args[5].chopped(2).toULongLong()});
    } else {
        session.toEnd();
        session.seek({static_cast<std::uint64_t>(args[5].toDouble() * static_cast<double>(session.lastMoment().ns))});
    }
    if (args.size() > 9) {
        session.selectPacket(static_cast<skbscope::PacketId>(args[9].toUInt()));
    }
    window.grab().save(args[1]);
    return 0;
}
