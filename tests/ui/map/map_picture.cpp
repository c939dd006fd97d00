// Paints the map and the timeline of the hand-written trace into a picture, to be looked at:
//   map_picture OUT.png WIDTH HEIGHT light|dark SHARE-OF-TIME [map|timeline|both]
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
    Session session(std::make_unique<skbscope::TraceSource>("hand", skbscope::test::backlogTrace()));
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
    session.seek({static_cast<std::uint64_t>(args[5].toDouble() * static_cast<double>(session.trace().end_time().ns))});
    if (args.size() > 7) {
        session.selectPacket(static_cast<skbscope::PacketId>(args[7].toUInt()));
    }
    window.grab().save(args[1]);
    return 0;
}
