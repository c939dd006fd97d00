// Paints the window into a picture, to be looked at:
//   window_picture OUT.png WIDTH HEIGHT light|dark lesson:ID:STEP|model|burst:N|whatif|file:PATH|hand|start|live|livemodel [t=SHARE] [packet=N] [tab=N] [search=WORDS]
#include "tests/ui/map/hand_trace.h"
#include "tests/ui/window/services.h"
#include "ui/controls/control_panel.h"
#include "ui/inspector/inspector.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/live/live_page.h"
#include "ui/player/session.h"
#include "ui/search/search_box.h"
#include "ui/shot.h"

#include <QApplication>
#include <QComboBox>
#include <QLineEdit>
#include <cstdio>

int main(int argc, char** argv)
{
    using namespace skbscope;
    using namespace skbscope::ui;
    QApplication app(argc, argv);
    Theme::instance().apply(app);
    const QStringList args = app.arguments();
    const auto mode = args[4] == "dark" ? Theme::Mode::dark : Theme::Mode::light;
    Theme::instance().setMode(mode);
    WindowServices services = test::services();
    services.live.devices = [] { return std::vector<std::string>{"eth0", "lo"}; };
    services.live.kernels = {"6.1", "6.12"};
    services.live.start = [](const LiveRequest&) -> Result<std::unique_ptr<Source>> { return fail(ErrorKind::unsupported, "a picture", "records nothing"); };
    services.live.command = [](const LiveRequest& request) { return "pkexec skbscope " + std::string(request.of == LiveKernel::model ? "replay" : "record") + " -w -"; };
    MainWindow window(services);
    window.resize(args[2].toInt(), args[3].toInt());
    const QString what = args[5];
    if (what.startsWith("lesson:")) {
        if (!window.openLesson(what.section(':', 1, 1))) {
            std::fprintf(stderr, "no lesson\n");
        }
        window.lessonPanel()->goTo(what.section(':', 2, 2).toInt() - 1);
    } else if (what == "model" || what.startsWith("burst")) {
        window.setSource(std::move(*test::services().model()), Mode::model);
        if (what.startsWith("burst")) {
            window.session()->setKnob("net.core.netdev_max_backlog", 10);
            window.session()->act("send_burst");
            window.session()->toEnd();
        }
    } else if (what == "whatif") { // lesson 3's burst into a short backlog, and what a longer one would have done
        (void)window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string()));
        Session& session = *window.session();
        session.startOver();
        session.setKnob("net.core.netdev_max_backlog", 3);
        session.act("send_burst");
        session.toEnd();
        session.seek({session.lastMoment().ns / 3});
        session.setKnob("net.core.netdev_max_backlog", 1000);
        session.runToEnd(0, 1);
        session.seek({session.lastMoment().ns / 2});
    } else if (what.startsWith("file:")) {
        (void)window.openNow(what.section(':', 1));
    } else if (what.startsWith("live")) {
        window.showLivePage();
        window.livePage()->kernelOfBox()->setCurrentIndex(what == "livemodel" ? 1 : 0);
    } else if (what == "hand") {
        window.setSource(std::make_unique<TraceSource>("Written by hand", test::backlogTrace()), Mode::recording);
    }
    for (const QString& word : args.mid(6)) {
        const QString value = word.section('=', 1);
        if (word.startsWith("t=")) {
            const double from = static_cast<double>(window.session()->origin().ns);
            const double last = static_cast<double>(window.session()->lastMoment().ns);
            window.session()->seek({static_cast<std::uint64_t>(from + (last - from) * value.toDouble())});
        } else if (word.startsWith("packet=")) {
            window.session()->selectPacket(static_cast<PacketId>(value.toUInt()));
        } else if (word.startsWith("tab=")) {
            window.inspector()->showTab(static_cast<Inspector::Tab>(value.toInt()));
        } else if (word.startsWith("choose=")) {
            window.lessonPanel()->choose(value.toInt());
        } else if (word == "run") {
            window.lessonPanel()->runExperiment();
            window.session()->pause();
            window.session()->toEnd();
        } else if (word.startsWith("room=")) {
            Selection selection;
            selection.room = Catalog::find_room(value.toStdString());
            window.session()->select(selection);
        } else if (word.startsWith("setting=")) {
            window.controls()->search()->setText(value);
        } else if (word == "present") {
            window.present(true);
        } else if (word == "why") {
            window.inspector()->showDrop();
        } else if (word == "whatif") {
            window.lessonPanel()->runWhatIf();
            window.session()->pause();
        } else if (word.startsWith("error=")) {
            window.showError(value);
        } else if (word.startsWith("search=")) {
            window.show();
            window.topBar()->search()->setText(value);
            emit window.topBar()->search()->textEdited(value);
        }
    }
    const auto done = renderWindow(window, args[1].toStdString(), {args[2].toInt(), args[3].toInt()}, mode);
    if (!done) {
        std::fprintf(stderr, "%s\n", done.error().describe().c_str());
        return 1;
    }
    return 0;
}
