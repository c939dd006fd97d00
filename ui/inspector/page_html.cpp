#include "ui/inspector/page_html.h"

#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QObject>
#include <QUrl>

namespace skbscope::ui {

QString escaped(std::string_view words)
{
    return text(words).toHtmlEscaped();
}

QString pageStyle()
{
    const Colors& c = Theme::instance().colors();
    return QStringLiteral("<style>"
                          "body { color: %1; font-family: '%6'; font-size: 13px; }"
                          ".t { font-size: 15px; margin: 0 0 2px 0; font-weight: 600; }"
                          ".h { font-size: 12px; margin: 14px 0 3px 0; color: %3; font-weight: 600; }"
                          "p { margin: 3px 0 5px 0; line-height: 135%; }"
                          "a { color: %3; text-decoration: none; }"
                          ".k { font-family: '%5'; font-size: 12px; }"
                          ".m { color: %2; } .f { color: %2; } .d { color: %4; }"
                          "td { padding: 1px 12px 1px 0; vertical-align: top; }"
                          "</style>")
        .arg(c.text.name(), c.textMuted.name(), c.accent.name(), c.drop.name(), Theme::mono(12).family(),
             Theme::sans(13).family());
}

QString heading(const QString& words)
{
    return QStringLiteral("<p class='h'>%1</p>").arg(words);
}

QString paragraph(const QString& html)
{
    return QStringLiteral("<p>%1</p>").arg(html);
}

QString kernelName(std::string_view name)
{
    return QStringLiteral("<span class='k'>%1</span>").arg(escaped(name));
}

QString commandLine(const QString& command)
{
    const QString percent = QString::fromLatin1(QUrl::toPercentEncoding(command));
    return QStringLiteral("<table cellspacing='0' cellpadding='6' width='100%' style='margin: 4px 0'><tr><td bgcolor='%1'><span class='k'>%2</span></td>"
                          "<td bgcolor='%1' align='right'><a href='copy:%3'>%4</a></td></tr></table>")
        .arg(Theme::instance().colors().band.name(), command.toHtmlEscaped(), percent, QObject::tr("Copy"));
}

} // namespace skbscope::ui
