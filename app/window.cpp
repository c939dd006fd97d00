#include "app/window.h"

#include "app/file_kind.h"
#include "app/lessons_folder.h"
#include "app/live_recorder.h"
#include "app/open.h"
#include "app/stream_source.h"
#include "app/text.h"
#include "capture/why_drop.h"
#include "core/recording/recording.h"
#include "core/scenario/model_source.h"
#include "core/scenario/scenario.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/main_window.h"
#include "ui/player/session.h"
#include "ui/shot.h"

#include <QApplication>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <iterator>
#include <unistd.h>

namespace skbscope::app {
namespace {

bool is_set(const char* variable)
{
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0';
}

Result<void> choose_platform(const WindowRequest& request)
{
    if (!request.platform.empty()) {
        qputenv("QT_QPA_PLATFORM", QByteArray::fromStdString(request.platform));
    } else if (is_set("QT_QPA_PLATFORM")) {
        return {};
    } else if (!request.shot.empty()) {
        qputenv("QT_QPA_PLATFORM", "offscreen");
    } else if (!is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY")) {
        return fail(
            ErrorKind::unsupported, "window", "there is no display here",
            "skbscope --shot FILE.png writes a picture of it; skbscope --help lists what works without");
    }
    return {};
}

/// The first lesson's scenario, to play with.
Result<std::unique_ptr<Source>> model_to_play_with()
{
    const auto folder = first_lesson();
    if (!folder) {
        return tl::unexpected(folder.error());
    }
    const auto lesson = load_lesson(*folder);
    return lesson ? open_driver(lesson->driver()) : tl::unexpected(lesson.error());
}

/// Qt's words to stderr as ours are, but not that a runtime folder is missing: nothing here needs one. A display that cannot be reached is
/// fatal to Qt while the application begins; why, it has said before.
void say_for_qt(QtMsgType type, const QMessageLogContext&, const QString& words)
{
    static std::string reason;
    if (QCoreApplication::instance() == nullptr || QCoreApplication::startingUp()) {
        if (type == QtFatalMsg) {
            const Error error{ErrorKind::unsupported, "window", reason.empty() ? "Qt cannot start" : reason,
                              "skbscope --shot FILE.png writes a picture of it; skbscope --help lists what "
                              "works without a display"};
            say("skbscope: {}\n", error.describe());
            std::_Exit(exit_status(error.kind));
        }
        if (type == QtWarningMsg) {
            reason = words.trimmed().toStdString();
            return;
        }
    }
    if (type == QtDebugMsg || type == QtInfoMsg || words.startsWith("QStandardPaths: XDG_RUNTIME_DIR")) {
        return;
    }
    say("skbscope: {}\n", words.toStdString());
    if (type == QtFatalMsg) {
        std::abort();
    }
}

ui::WindowServices services(bool remember)
{
    return {
        .open = open_driver,
        .openWatched = open_watched,
        .save =
            [](const Source& source, const std::filesystem::path& path, Progress& progress) {
                return write_recording(source.trace(), path, {.progress = &progress});
            },
        .model = first_lesson() ? model_to_play_with : decltype(ui::WindowServices::model){},
        .explain = [](const Trace& trace, const JourneyIndex& journeys,
                      PacketId packet) -> std::optional<DropExplanation> {
            auto drops = explain_drops(trace, journeys, std::span(&packet, 1), settings_behind(trace));
            return drops.empty() ? std::nullopt : std::optional(std::move(drops.front()));
        },
        .live = {.devices = network_devices,
                 .kernels = {std::begin(kernel_profiles), std::end(kernel_profiles)},
                 .start = start_recorder,
                 .command =
                     [](const ui::LiveRequest& request) {
                         const std::string asking = request.needs_prompt ? way_to_ask() : std::string();
                         return fmt::format("{}",
                                            fmt::join(recorder_command(own_program(), asking, request), " "));
                     },
                 .doctor = ask_doctor},
        .lessons = lessons_folder(),
        .remember = remember,
    };
}

ui::Theme::Mode theme_named(const std::string& name)
{
    if (name == "dark") {
        return ui::Theme::Mode::dark;
    }
    return name == "light" ? ui::Theme::Mode::light : ui::Theme::Mode::system;
}

/// For a picture all of it is waited for; the window follows it as it comes.
Result<void> open_standard_input_in(ui::MainWindow& window, bool whole)
{
    if (!whole) {
        window.setSource(std::make_unique<StreamSource>(STDIN_FILENO, "standard input"), ui::Mode::live);
        window.setTitle("standard input");
        return {};
    }
    auto source = open_driver("-");
    if (!source) {
        return tl::unexpected(source.error());
    }
    window.setSource(std::move(*source), ui::Mode::recording);
    window.setTitle("standard input");
    return {};
}

/// Long enough that a person should see it come: a window without answers says nothing.
bool is_long(const std::string& file)
{
    constexpr std::uintmax_t opens_at_once = std::uintmax_t{8} << 20;
    std::error_code error;
    const std::uintmax_t size =
        std::filesystem::is_regular_file(file, error) ? std::filesystem::file_size(file, error) : 0;
    return !error && size > opens_at_once;
}

Result<void> open_file_in(ui::MainWindow& window, const std::string& file)
{
    QString why;
    QObject::connect(&window, &ui::MainWindow::openFailed, &window,
                     [&why](const QString& words) { why = words; });
    const bool opened = window.openNow(QString::fromStdString(file));
    QObject::disconnect(&window, &ui::MainWindow::openFailed, &window, nullptr);
    return opened ? Result<void>() : fail(ErrorKind::invalid, "", why.toStdString());
}

/// Opens what was asked for, and puts the playhead there. The error is the one that the window's banner
/// shows.
Result<void> open_in(ui::MainWindow& window, const std::string& file, const WindowRequest& request)
{
    if (request.shot.empty() && !request.at && request.step == 0 && is_long(file)) {
        window.openFile(QString::fromStdString(file));
        return {};
    }
    if (auto opened =
            file == "-" ? open_standard_input_in(window, !request.shot.empty()) : open_file_in(window, file);
        !opened) {
        return opened;
    }
    auto* session = window.session();
    if (request.at && session != nullptr) {
        session->seek(session->origin() + *request.at);
    }
    if (request.step != 0) {
        const int steps = window.lessonPanel()->stepCount();
        if (request.step > steps) {
            return steps == 0 ? fail(ErrorKind::usage, "--step", file + " is not a lesson",
                                     "--at TIME sets the playhead")
                              : fail(ErrorKind::usage, fmt::format("--step {}", request.step),
                                     fmt::format("the lesson has {} steps", steps));
        }
        window.lessonPanel()->goTo(request.step - 1);
    }
    return {};
}

} // namespace

Result<int> show_window(const WindowRequest& request)
{
    auto file = request.file;
    if (file.empty()) {
        // Without lessons there is no first one: the window says so on its first page, and opens everything else.
        if (const auto lesson = first_lesson()) {
            file = lesson->string();
        } else if (request.step != 0 || request.at) {
            return tl::unexpected(lesson.error());
        }
    } else if (file != "-") {
        if (const auto kind = file_kind(file); !kind) { // before Qt starts: a wrong name is answered at once
            return tl::unexpected(kind.error());
        }
    }
    if (const auto chosen = choose_platform(request); !chosen) {
        return tl::unexpected(chosen.error());
    }

    if (request.scale > 0) {
        qputenv("QT_SCALE_FACTOR", QByteArray::number(request.scale));
    }
    qInstallMessageHandler(say_for_qt);
    int argument_count = 1;
    std::string name = "skbscope";
    std::array<char*, 2> arguments{name.data(), nullptr};
    QApplication application(argument_count, arguments.data());
    QApplication::setApplicationName("skbscope");
    QApplication::setApplicationVersion(SKBSCOPE_VERSION);
    QApplication::setDesktopFileName("skbscope");
    auto& theme = ui::Theme::instance();
    theme.apply(application);
    theme.setMode(theme_named(request.theme));

    ui::MainWindow window(services(request.shot.empty()));
    if (!file.empty()) {
        if (const auto opened = open_in(window, file, request); !opened) {
            return tl::unexpected(opened.error());
        }
    }
    if (!request.shot.empty()) {
        const double scale = request.scale > 0 ? request.scale : 1;
        const QSize size(qRound(request.size.first / scale), qRound(request.size.second / scale));
        const auto mode = request.theme.empty() ? ui::Theme::Mode::light : theme_named(request.theme);
        const auto written = renderWindow(window, request.shot, size, mode);
        return written ? Result<int>(0) : tl::unexpected(written.error());
    }
    window.show();
    return QApplication::exec();
}

} // namespace skbscope::app
