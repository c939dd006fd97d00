#pragma once
// Words on a few lines that end in dots, not in the middle, where they are too many.

#include <QFontMetrics>
#include <QStringList>

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

} // namespace skbscope::ui
