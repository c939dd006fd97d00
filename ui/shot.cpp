#include "ui/shot.h"

#include "ui/controls/control_panel.h"
#include "ui/main_window.h"

#include <QCoreApplication>
#include <QPixmap>
#include <filesystem>

namespace skbscope::ui {

Result<void> renderWindow(MainWindow& window, const std::filesystem::path& path, QSize size, Theme::Mode theme)
{
    Theme::instance().setMode(theme);
    window.resize(size);
    window.show();
    window.controls()->catchUp();
    // Layouts settle in turns: wrapped texts find their height, then their panels.
    for (int i = 0; i < 8; ++i) {
        QCoreApplication::sendPostedEvents();
        QCoreApplication::processEvents();
    }
    const QPixmap picture = window.grab();
    // Beside it first: a full disk leaves no half picture. A device or a pipe has its name, and keeps it.
    std::error_code unknown;
    const bool is_special = std::filesystem::exists(path, unknown) && !std::filesystem::is_regular_file(path, unknown);
    std::filesystem::path part = path;
    if (!is_special) {
        part += ".part.png";
    }
    if (!picture.save(QString::fromStdString(part.string()), "PNG")) {
        std::error_code ignored;
        if (!is_special) {
            std::filesystem::remove(part, ignored);
        }
        return fail(ErrorKind::unwritable, path.string(), "the picture cannot be written", "is the folder there and writable?");
    }
    if (is_special) {
        return {};
    }
    std::error_code error;
    std::filesystem::rename(part, path, error);
    if (error) {
        std::filesystem::remove(part, error);
        return fail(ErrorKind::unwritable, path.string(), "the picture cannot be written");
    }
    return {};
}

} // namespace skbscope::ui
