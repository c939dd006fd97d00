#pragma once
// How the window looks: the colour set (light and dark), fonts, spacing, and the style of standard widgets. Everything
// that is painted takes its colours from here, at paint time, so that the theme can change while the program runs.
//
// Colour never says anything alone: contexts also differ by name and by height, running and waiting by fill, drops by
// their reason in words.

#include "core/catalog/ids.h"

#include <QColor>
#include <QFont>
#include <QObject>
#include <array>
#include <cstdint>

class QApplication;
class QPainter;
class QPixmap;
class QRectF;

namespace skbscope::ui {

/// All colours of one appearance.
struct Colors {
    // What a thing is.
    QColor hardirq, softirq, process, hardware;
    QColor drop, good, accent, gauge;
    std::array<QColor, 4> flows;
    // Text in the colour of a context: as above, but legible at small sizes on a card.
    QColor hardirqText, softirqText, processText;
    // Surfaces, from the back to the front.
    QColor map;      ///< behind the map's rows
    QColor band;     ///< every other row of the map; the empty part of a lane; a button
    QColor panel;    ///< the window itself, panels
    QColor card;     ///< a room, a field one can type into
    QColor raised;   ///< hovered buttons
    QColor border;   ///< hairlines around cards and between panels
    QColor slot;     ///< outline of an empty slot of a queue
    QColor text, textMuted, textFaint;
    QColor onAccent; ///< text on accent
    QColor onFlow;   ///< text on a solid token
    QColor line;     ///< connectors of the map
    QColor lineFaint;
};

/// Lengths in logical pixels at scale 1.
namespace space {
inline constexpr int hair = 2;
inline constexpr int tight = 4;
inline constexpr int small = 8;
inline constexpr int normal = 12;
inline constexpr int wide = 16;
inline constexpr int huge = 24;
} // namespace space
namespace radius {
inline constexpr qreal slot = 3;
inline constexpr qreal control = 6;
inline constexpr qreal card = 6;
} // namespace radius

class Theme : public QObject {
    Q_OBJECT

public:
    enum class Mode { system, light, dark };

    /// The one theme of the program. Created on first use, which must be after QApplication.
    static Theme& instance();

    [[nodiscard]] Mode mode() const { return m_mode; }
    [[nodiscard]] bool isDark() const { return m_dark; }
    [[nodiscard]] const Colors& colors() const { return m_dark ? m_darkColors : m_lightColors; }

    [[nodiscard]] QColor context(Context context) const;
    [[nodiscard]] QColor contextText(Context context) const;
    /// Colour of a flow: the same flow has the same colour everywhere. index: any number, wraps around.
    [[nodiscard]] QColor flow(std::size_t index) const;

    /// The text face: Inter, else the system's sans. Size in logical pixels.
    [[nodiscard]] static QFont sans(qreal pixels, QFont::Weight weight = QFont::Normal);
    /// Figures and kernel names: JetBrains Mono, else DejaVu Sans Mono, else the system's fixed font.
    [[nodiscard]] static QFont mono(qreal pixels, QFont::Weight weight = QFont::Normal);

    /// Diagonal stripes: ksoftirqd, and waits in a journey. Fills the rectangle.
    static void hatch(QPainter& painter, const QRectF& rect, const QColor& color, qreal pitch = 6);

    /// Palette, fonts and style sheet of the whole application; later changes of mode follow by themselves.
    void apply(QApplication& application);

public slots:
    void setMode(skbscope::ui::Theme::Mode mode);

signals:
    /// Colours have changed: repaint, drop cached pixmaps.
    void changed();

protected:
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    Theme();
    void refresh();
    void restyle();
    [[nodiscard]] QString styleSheet() const;

    Mode m_mode = Mode::system;
    bool m_dark = false;
    bool m_restyling = false;
    QApplication* m_application = nullptr;
    Colors m_lightColors;
    Colors m_darkColors;
};

} // namespace skbscope::ui
