#include "ui/theme/theme.h"

#include <QApplication>
#include <QEvent>
#include <QFontDatabase>
#include <QPainter>
#include <QPainterPath>
#include <QPalette>
#include <QStringList>
#include <QStyleFactory>
#include <initializer_list>

namespace skbscope::ui {

namespace {

Colors lightColors()
{
    Colors c;
    c.hardirq = QColor("#C8372D");
    c.softirq = QColor("#D98A00");
    c.process = QColor("#2F6FDE");
    c.hardware = QColor("#8A94A6");
    c.drop = QColor("#B3261E");
    c.good = QColor("#1E8E5A");
    c.accent = QColor("#3557D5");
    c.gauge = QColor("#8FB3F5");
    c.flows = {QColor("#3B7DD8"), QColor("#8A4FD0"), QColor("#0F9488"), QColor("#B4577A")};
    c.hardirqText = QColor("#B3261E");
    c.softirqText = QColor("#9A6100");
    c.processText = QColor("#255DC2");
    c.map = QColor("#F6F8FA");
    c.band = QColor("#EEF1F5");
    c.panel = QColor("#FFFFFF");
    c.card = QColor("#FFFFFF");
    c.raised = QColor("#E4E9F0");
    c.border = QColor("#D5DBE4");
    c.slot = QColor("#DDE2EA");
    c.text = QColor("#1B2433");
    c.textMuted = QColor("#566175");
    c.textFaint = QColor("#9AA4B4");
    c.onAccent = QColor("#FFFFFF");
    c.onFlow = QColor("#FFFFFF");
    c.line = QColor("#6B7689");
    c.lineFaint = QColor("#CBD2DC");
    return c;
}

Colors darkColors()
{
    Colors c;
    c.hardirq = QColor("#FF7A70");
    c.softirq = QColor("#F2B13C");
    c.process = QColor("#7FA9FF");
    c.hardware = QColor("#8792A5");
    c.drop = QColor("#FF8A80");
    c.good = QColor("#5CCB96");
    c.accent = QColor("#8AA2FF");
    c.gauge = QColor("#41639F");
    c.flows = {QColor("#86B6FF"), QColor("#C3A0FF"), QColor("#5FD9CC"), QColor("#F2A1C0")};
    c.hardirqText = QColor("#FF8A80");
    c.softirqText = QColor("#F2B13C");
    c.processText = QColor("#8FB4FF");
    c.map = QColor("#151A21");
    c.band = QColor("#1F262F");
    c.panel = QColor("#1B2129");
    c.card = QColor("#252D38");
    c.raised = QColor("#2E3845");
    c.border = QColor("#364150");
    c.slot = QColor("#3A4555");
    c.text = QColor("#E8ECF2");
    c.textMuted = QColor("#A3AEBF");
    c.textFaint = QColor("#687588");
    c.onAccent = QColor("#10151D");
    c.onFlow = QColor("#10151D");
    c.line = QColor("#93A0B3");
    c.lineFaint = QColor("#3B4656");
    return c;
}

/// The first family of the list that is installed; empty if none is.
QString installed(std::initializer_list<const char*> families)
{
    const QStringList known = QFontDatabase::families();
    for (const char* family : families) {
        if (known.contains(QLatin1String(family))) {
            return QLatin1String(family);
        }
    }
    return {};
}

const QString& sansFamily()
{
    static const QString family = [] {
        const QString found = installed({"Inter", "Inter Variable"});
        return found.isEmpty() ? QFontDatabase::systemFont(QFontDatabase::GeneralFont).family() : found;
    }();
    return family;
}

const QString& monoFamily()
{
    static const QString family = [] {
        const QString found = installed({"JetBrains Mono", "DejaVu Sans Mono", "Noto Sans Mono", "Liberation Mono"});
        return found.isEmpty() ? QFontDatabase::systemFont(QFontDatabase::FixedFont).family() : found;
    }();
    return family;
}

/// Wide faces (DejaVu Sans, Verdana) set at the same size take a sixth more room; bring them to the same measure.
qreal evened(const QString& family, qreal pixels)
{
    static const QStringList wide{"DejaVu Sans", "DejaVu Sans Mono", "Verdana", "Bitstream Vera Sans"};
    return wide.contains(family) ? pixels * 0.92 : pixels;
}

/// Qt takes whole pixel sizes or fractional points; at 96 dpi logical a point is 4/3 of a pixel, elsewhere it is not,
/// so round to whole pixels.
QFont faceOf(const QString& family, qreal pixels, QFont::Weight weight)
{
    QFont font(family);
    font.setPixelSize(qMax(1, qRound(evened(family, pixels))));
    font.setWeight(weight);
    font.setHintingPreference(QFont::PreferVerticalHinting);
    return font;
}

} // namespace

Theme& Theme::instance()
{
    // Never destroyed: widgets that die late may still ask for colours.
    static auto* theme = new Theme;
    return *theme;
}

Theme::Theme() : m_lightColors(lightColors()), m_darkColors(darkColors())
{
    m_dark = QGuiApplication::palette().color(QPalette::Window).lightness() < 128;
}

QColor Theme::context(Context context) const
{
    const Colors& c = colors();
    switch (context) {
    case Context::process: return c.process;
    case Context::softirq: return c.softirq;
    case Context::hardirq:
    case Context::nmi: return c.hardirq;
    }
    return c.hardware;
}

QColor Theme::contextText(Context context) const
{
    const Colors& c = colors();
    switch (context) {
    case Context::process: return c.processText;
    case Context::softirq: return c.softirqText;
    case Context::hardirq:
    case Context::nmi: return c.hardirqText;
    }
    return c.textMuted;
}

QColor Theme::flow(std::size_t index) const
{
    return colors().flows[index % colors().flows.size()];
}

QFont Theme::sans(qreal pixels, QFont::Weight weight)
{
    return faceOf(sansFamily(), pixels, weight);
}

QFont Theme::mono(qreal pixels, QFont::Weight weight)
{
    QFont font = faceOf(monoFamily(), pixels, weight);
    font.setStyleHint(QFont::Monospace);
    font.setFixedPitch(true);
    return font;
}

void Theme::hatch(QPainter& painter, const QRectF& rect, const QColor& color, qreal pitch)
{
    painter.save();
    painter.setClipRect(rect, Qt::IntersectClip);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(color, pitch * 0.36));
    // From the left edge minus the height, so that every stripe crosses the whole rectangle; phase fixed to the page, so
    // that neighbours line up.
    const qreal first = std::floor((rect.left() - rect.height()) / pitch) * pitch;
    for (qreal x = first; x < rect.right() + pitch; x += pitch) {
        painter.drawLine(QPointF(x, rect.bottom() + 1), QPointF(x + rect.height() + 2, rect.top() - 1));
    }
    painter.restore();
}

void Theme::apply(QApplication& application)
{
    m_application = &application;
    application.setStyle(QStyleFactory::create("Fusion"));
    application.installEventFilter(this);
    refresh();
    restyle();
}

void Theme::setMode(Mode mode)
{
    m_mode = mode;
    refresh();
}

void Theme::refresh()
{
    bool dark = m_mode == Mode::dark;
    if (m_mode == Mode::system) {
        // Ours off for a moment shows the platform's own palette.
        m_restyling = true;
        const QPalette ours = QGuiApplication::palette();
        QGuiApplication::setPalette(QPalette());
        dark = QGuiApplication::palette().color(QPalette::Window).lightness() < 128;
        QGuiApplication::setPalette(ours);
        m_restyling = false;
    }
    if (dark == m_dark) {
        return;
    }
    m_dark = dark;
    restyle();
    emit changed();
}

bool Theme::eventFilter(QObject* watched, QEvent* event)
{
    if (event->type() == QEvent::ThemeChange && m_mode == Mode::system && !m_restyling) {
        refresh();
    }
    return QObject::eventFilter(watched, event);
}

void Theme::restyle()
{
    if (m_application == nullptr) {
        return;
    }
    m_restyling = true;
    const Colors& c = colors();
    QPalette p;
    p.setColor(QPalette::Window, c.panel);
    p.setColor(QPalette::WindowText, c.text);
    p.setColor(QPalette::Base, c.card);
    p.setColor(QPalette::AlternateBase, c.band);
    p.setColor(QPalette::Text, c.text);
    p.setColor(QPalette::PlaceholderText, c.textFaint);
    p.setColor(QPalette::Button, c.band);
    p.setColor(QPalette::ButtonText, c.text);
    p.setColor(QPalette::BrightText, c.drop);
    p.setColor(QPalette::Highlight, c.accent);
    p.setColor(QPalette::HighlightedText, c.onAccent);
    p.setColor(QPalette::Link, c.accent);
    p.setColor(QPalette::LinkVisited, c.accent);
    p.setColor(QPalette::ToolTipBase, c.card);
    p.setColor(QPalette::ToolTipText, c.text);
    p.setColor(QPalette::Light, c.raised);
    p.setColor(QPalette::Midlight, c.raised);
    p.setColor(QPalette::Mid, c.border);
    p.setColor(QPalette::Dark, c.line);
    p.setColor(QPalette::Shadow, m_dark ? QColor("#0B0E13") : QColor("#AEB7C4"));
    for (const QPalette::ColorRole role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText}) {
        p.setColor(QPalette::Disabled, role, c.textFaint);
    }
    QGuiApplication::setPalette(p);
    QApplication::setFont(sans(13));
    m_application->setStyleSheet(styleSheet());
    m_restyling = false;
}

QString Theme::styleSheet() const
{
    const Colors& c = colors();
    QString sheet = QStringLiteral(R"(
QToolTip { background: @card; color: @text; border: 1px solid @border; border-radius: 6px; padding: 6px 8px; }

QPushButton, QToolButton { outline: none; background: @band; color: @text; border: 1px solid @border; border-radius: 6px; padding: 5px 12px; }
QToolButton { padding: 5px 8px; }
QPushButton:hover, QToolButton:hover { background: @raised; }
QPushButton:pressed, QToolButton:pressed { background: @border; }
QPushButton:focus, QToolButton:focus { border: 1px solid @accent; }
QPushButton:disabled, QToolButton:disabled { color: @faint; background: @panel; }
QPushButton:checked, QToolButton:checked, QPushButton[primary="true"] { background: @accent; color: @onAccent; border: 1px solid @accent; }
QPushButton[primary="true"] { font-weight: 600; }
QPushButton[primary="true"]:hover { background: @accentHover; border: 1px solid @accentHover; }
QPushButton[primary="true"]:disabled { background: @band; color: @faint; border: 1px solid @border; }
QPushButton[pill="true"] { background: @panel; border-radius: 13px; padding: 4px 14px; }
QPushButton[pill="true"]:hover { background: @band; }
QPushButton[pill="true"]:checked { background: @accent; color: @onAccent; font-weight: 600; }
QPushButton[flat="true"] { background: transparent; border: 1px solid transparent; }
QPushButton[flat="true"]:hover { background: @band; }
QToolButton[autoRaise="true"] { background: transparent; border: 1px solid transparent; }
QToolButton[autoRaise="true"]:hover { background: @band; }
QToolButton[autoRaise="true"]:focus, QPushButton[flat="true"]:focus { border: 1px solid @accent; }
QPushButton[primary="true"]:focus, QPushButton:checked:focus { border: 2px solid @text; padding: 4px 11px; }
QPushButton[pill="true"]:checked:focus { border: 2px solid @text; padding: 3px 13px; }
QToolButton[heading="true"] { padding: 3px 6px 3px 0; margin-left: -2px; }
QToolButton::menu-indicator { image: none; }

QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox { background: @field; color: @text; border: 1px solid @border; border-radius: 6px; padding: 4px 8px; selection-background-color: @accent; selection-color: @onAccent; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus { border: 1px solid @accent; background: @card; }
QComboBox::drop-down { border: none; width: 22px; }
QComboBox::down-arrow { image: none; }
QComboBox QAbstractItemView { background: @card; border: 1px solid @border; selection-background-color: @band; selection-color: @text; }

QSlider { min-height: 18px; }
QSlider::groove:horizontal { height: 4px; border-radius: 2px; background: @groove; }
QSlider::sub-page:horizontal { height: 4px; border-radius: 2px; background: @accent; }
QSlider::handle:horizontal { width: 14px; height: 14px; margin: -5px 0; border-radius: 7px; background: @accent; border: none; }
QSlider::handle:horizontal:hover { background: @accentHover; }
QSlider::handle:horizontal:focus { background: @accent; border: 2px solid @text; width: 10px; height: 10px; margin: -5px 0; }
QSlider::sub-page:horizontal:disabled, QSlider::handle:horizontal:disabled { background: @faint; }

QProgressBar { background: @groove; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }
QProgressBar::chunk { background: @good; border-radius: 2px; }

QTabWidget::pane { border: none; }
QTabBar { background: transparent; qproperty-drawBase: 0; }
QTabBar::tab { background: transparent; color: @muted; padding: 6px 3px; margin-right: 8px; border: none; border-bottom: 2px solid transparent; }
QTabBar::tab:hover { color: @text; }
QTabBar::tab:selected { color: @accent; border-bottom: 2px solid @accent; font-weight: 600; }
QTabBar::tab:selected:focus { background: @selected; border-top-left-radius: 4px; border-top-right-radius: 4px; }

QRadioButton, QCheckBox { spacing: 8px; color: @text; }
QRadioButton::indicator, QCheckBox::indicator { width: 12px; height: 12px; border: 1px solid @line; background: @card; }
QRadioButton::indicator { border-radius: 7px; }
QCheckBox::indicator { border-radius: 4px; }
QRadioButton::indicator:checked { border: 4px solid @accent; width: 6px; height: 6px; background: @card; }
QCheckBox::indicator:checked { background: @accent; border: 1px solid @accent; }
QRadioButton::indicator:focus, QCheckBox::indicator:focus { border-color: @accent; }

QScrollArea, QAbstractScrollArea { border: none; }
QScrollArea[reading="true"] { border: 1px solid transparent; }
QScrollArea[reading="true"]:focus { border: 1px dashed @accent; }
QListView:focus, QTreeView:focus, QTextBrowser:focus { border: 1px dashed @accent; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: @border; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:hover { background: @faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QTreeView, QListView, QTableView { background: @panel; alternate-background-color: @band; border: none; outline: none; }
QTreeView::item, QListView::item, QTableView::item { padding: 2px 4px; }
QTreeView::item:hover, QListView::item:hover { background: @band; }
QTreeView::item:selected, QListView::item:selected, QTableView::item:selected { background: @selected; color: @text; }
QHeaderView::section { background: @panel; color: @muted; border: none; border-bottom: 1px solid @border; padding: 4px; }

QMenu { background: @card; border: 1px solid @border; border-radius: 6px; padding: 4px; }
QMenu::item { padding: 5px 22px 5px 12px; border-radius: 4px; }
QMenu::item:selected { background: @selected; }
QMenu::item:disabled { color: @faint; }
QMenu::separator { height: 1px; background: @border; margin: 4px 6px; }
QMenuBar { background: @panel; }
QMenuBar::item:selected { background: @band; border-radius: 4px; }

QSplitter::handle { background: @border; }
QSplitter::handle:horizontal { width: 1px; }
QSplitter::handle:vertical { height: 1px; }
QFrame[frameShape="4"], QFrame[frameShape="5"] { color: @border; }
QGroupBox { border: none; margin-top: 18px; font-weight: 600; }
QGroupBox::title { subcontrol-origin: margin; left: 0; color: @accent; }
)");
    QColor selected = c.accent;
    selected.setAlphaF(m_dark ? 0.28F : 0.14F);
    const std::pair<const char*, QColor> names[] = {
        {"@accentHover", m_dark ? c.accent.lighter(112) : c.accent.darker(112)},
        {"@onAccent", c.onAccent},
        {"@accent", c.accent},
        {"@selected", selected},
        {"@groove", m_dark ? QColor("#36404D") : QColor("#D9DFE8")},
        {"@border", c.border},
        {"@raised", c.raised},
        {"@muted", c.textMuted},
        {"@faint", c.textFaint},
        {"@field", c.band},
        {"@panel", c.panel},
        {"@band", c.band},
        {"@card", c.card},
        {"@text", c.text},
        {"@line", c.line},
        {"@good", c.good},
    };
    for (const auto& [name, color] : names) {
        const QString value = color.alpha() == 255 ? color.name()
                                                   : QStringLiteral("rgba(%1,%2,%3,%4)")
                                                         .arg(color.red())
                                                         .arg(color.green())
                                                         .arg(color.blue())
                                                         .arg(color.alphaF(), 0, 'f', 2);
        sheet.replace(QLatin1String(name), value);
    }
    return sheet;
}

} // namespace skbscope::ui
