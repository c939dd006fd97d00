#pragma once
// Where the user's settings are kept: geometry, theme, recent files.

#include <QSettings>

namespace skbscope::ui {

inline QSettings userSettings()
{
    return QSettings(QStringLiteral("skbscope"), QStringLiteral("skbscope"));
}

} // namespace skbscope::ui
