#pragma once
// Words on a few lines that end in dots, not in the middle, where they are too many.

#include <QFontMetrics>
#include <QStringList>
#include <algorithm>

namespace skbscope::ui {

/// The words broken into at most so many lines no wider than `width`; what does not fit ends in dots on the last one.
inline QStringList elidedLines(const QFontMetrics& metrics, const QString& words, int width, int most)
{
    QStringList lines;
    QString line;
    const QStringList all = words.split(QChar(' '), Qt::SkipEmptyParts);
    for (qsizetype i = 0; i < all.size(); ++i) {
        const QString longer = line.isEmpty() ? all[i] : line + QChar(' ') + all[i];
        if (line.isEmpty() || metrics.horizontalAdvance(longer) <= width) {
            line = longer;
            continue;
        }
        if (lines.size() + 1 == most) {
            return lines << metrics.elidedText(line + QChar(' ') + QStringList(all.mid(i)).join(QChar(' ')), Qt::ElideRight, width);
        }
        lines << metrics.elidedText(line, Qt::ElideRight, width);
        line = all[i];
    }
    if (!line.isEmpty()) {
        lines << metrics.elidedText(line, Qt::ElideRight, width);
    }
    return lines;
}

/// "UDP 2001:db8…:50014 → 2001:db…:53": each end is cut in its middle, so that both keep their ports.
inline QString elidedFlow(const QFontMetrics& metrics, const QString& flow, int width)
{
    const QString arrow = QStringLiteral(" → ");
    const auto at = flow.indexOf(arrow);
    if (at < 0 || metrics.horizontalAdvance(flow) <= width) {
        return metrics.elidedText(flow, Qt::ElideMiddle, width);
    }
    // The shorter end takes what it needs, the other the rest.
    const QString from = flow.left(at);
    const QString to = flow.mid(at + arrow.size());
    const int room = width - metrics.horizontalAdvance(arrow);
    const int wideFrom = metrics.horizontalAdvance(from);
    const int wideTo = metrics.horizontalAdvance(to);
    const int forFrom = wideTo < room / 2 ? room - wideTo : std::min(wideFrom, room / 2);
    return metrics.elidedText(from, Qt::ElideMiddle, forFrom) + arrow + metrics.elidedText(to, Qt::ElideMiddle, room - forFrom);
}

} // namespace skbscope::ui
