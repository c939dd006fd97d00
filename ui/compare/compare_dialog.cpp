#include "ui/compare/compare_dialog.h"

#include "ui/controls/label.h"
#include "ui/inspector/journey_rows.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QListWidget>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSplitter>
#include <QTextBlock>
#include <QVBoxLayout>
#include <algorithm>

namespace skbscope::ui {

namespace {

constexpr std::size_t most_rows = 2000; ///< of a kind; the command line names them all

QString endOf(const PacketRecord& packet)
{
    return verdictText(packet.verdict, packet.reason);
}

QString contextName(const StepDifference& difference)
{
    return contextText(difference.context);
}

} // namespace

CompareDialog::CompareDialog(ComparedSide a, ComparedSide b, Comparison comparison, QWidget* parent)
    : QDialog(parent), m_a(std::move(a)), m_b(std::move(b)), m_comparison(std::move(comparison))
{
    setWindowTitle(tr("Compared"));
    resize(1100, 680);
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(18, 14, 18, 14);
    column->setSpacing(8);
    auto* sides = new Label(tr("A: %1, open here\nB: %2").arg(m_a.name, m_b.name), Tone::muted, Theme::sans(12), this);
    sides->setWordWrap(true);
    column->addWidget(sides);
    m_sentence = new Label({}, Tone::normal, Theme::sans(14, QFont::DemiBold), this);
    m_sentence->setWordWrap(true);
    column->addWidget(m_sentence);
    auto* halves = new QSplitter(Qt::Horizontal, this);
    halves->setChildrenCollapsible(false);
    m_list = new QListWidget(halves);
    m_list->setAccessibleName(tr("Packets"));
    m_list->setTextElideMode(Qt::ElideRight);
    m_list->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    auto* right = new QWidget(halves);
    auto* under = new QVBoxLayout(right);
    under->setContentsMargins(0, 0, 0, 0);
    under->setSpacing(2);
    auto* heads = new Label(QStringLiteral("    %1   %2").arg(tr("A"), -38).arg(tr("B")), Tone::accent, Theme::mono(12, QFont::DemiBold), right);
    heads->setTextFormat(Qt::PlainText);
    heads->setContentsMargins(5, 0, 0, 0); // as the text below
    under->addWidget(heads);
    m_calls = new QPlainTextEdit(right);
    under->addWidget(m_calls, 1);
    m_calls->setAccessibleName(tr("Calls in A and in B"));
    m_calls->setReadOnly(true);
    m_calls->setTabChangesFocus(true);
    m_calls->setLineWrapMode(QPlainTextEdit::NoWrap);
    m_calls->setFont(Theme::mono(12));
    m_calls->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
    halves->setSizes({440, 620});
    column->addWidget(halves, 1);
    auto* remark = new Label(tr("< a call of A alone, > one of B alone. Only functions that both can show count; where a packet waited and how long does not."),
                             Tone::muted, Theme::sans(11), this);
    remark->setTextFormat(Qt::PlainText);
    remark->setWordWrap(true);
    column->addWidget(remark);
    auto* close = new QPushButton(tr("Close"), this);
    column->addWidget(close, 0, Qt::AlignRight);
    connect(close, &QPushButton::clicked, this, &QDialog::accept);
    connect(m_list, &QListWidget::currentRowChanged, this, &CompareDialog::showCalls);
    fill();
    m_list->setCurrentRow(0);
    m_list->setFocus();
}

QString CompareDialog::sentence() const
{
    return m_sentence->text();
}

void CompareDialog::add(PacketPair pair, const QString& words, bool differs)
{
    m_pairs.push_back(pair);
    auto* item = new QListWidgetItem(words, m_list);
    item->setToolTip(words);
    item->setForeground(differs ? Theme::instance().colors().text : Theme::instance().colors().textMuted);
}

/// Packets that end differently first, then those whose ways part, those that the other has not, and the same ones.
void CompareDialog::fill()
{
    const Trace& a = *m_a.trace;
    const Trace& b = *m_b.trace;
    const auto name = [](const PacketPair& pair) { return QStringLiteral("#%1 | #%2").arg(to_index(pair.a)).arg(to_index(pair.b)); };
    std::size_t ends = 0, ways = 0, same = 0;
    for (const PacketComparison& packet : m_comparison.packets) {
        if (!packet.same_reason && ends++ < most_rows) {
            add(packet.pair, tr("%1  %2 | %3").arg(name(packet.pair), endOf(a.packet(packet.pair.a)), endOf(b.packet(packet.pair.b))), true);
        }
    }
    for (const PacketComparison& packet : m_comparison.packets) {
        if (packet.same_reason && !packet.same_functions && ways++ < most_rows) {
            const StepDifference first = packet.first.value_or(StepDifference{});
            const auto word = [](const std::string& function) { return function.empty() ? tr("nothing more") : text(function); };
            add(packet.pair, tr("%1  parts in %2: %3 | %4").arg(name(packet.pair), contextName(first), word(first.in_a), word(first.in_b)), true);
        }
    }
    for (std::size_t i = 0; i < std::min(most_rows, m_comparison.only_in_a.size()); ++i) {
        const PacketId id = m_comparison.only_in_a[i];
        add({id, PacketId::none}, tr("#%1  only in A: %2").arg(to_index(id)).arg(endOf(a.packet(id))), true);
    }
    for (std::size_t i = 0; i < std::min(most_rows, m_comparison.only_in_b.size()); ++i) {
        const PacketId id = m_comparison.only_in_b[i];
        add({PacketId::none, id}, tr("#%1  only in B: %2").arg(to_index(id)).arg(endOf(b.packet(id))), true);
    }
    for (const PacketComparison& packet : m_comparison.packets) {
        if (packet.same() && same++ < most_rows) {
            add(packet.pair, tr("%1  the same: %2").arg(name(packet.pair), endOf(a.packet(packet.pair.a))), false);
        }
    }
    QStringList parts;
    if (ends != 0) {
        parts << tr("%1 with another end").arg(countText(ends));
    }
    if (ways != 0) {
        parts << tr("%1 with the same end on another way").arg(countText(ways));
    }
    if (same != 0) {
        parts << tr("%1 the same").arg(countText(same));
    }
    if (!m_comparison.only_in_a.empty()) {
        parts << tr("%1 only in A").arg(countText(m_comparison.only_in_a.size()));
    }
    if (!m_comparison.only_in_b.empty()) {
        parts << tr("%1 only in B").arg(countText(m_comparison.only_in_b.size()));
    }
    const QString both = tr("%1 in both").arg(counted(m_comparison.packets.size(), "packet", "packets"));
    m_sentence->setText(m_comparison.packets.empty() && parts.isEmpty() ? tr("Neither has a packet")
                        : m_comparison.same()                          ? tr("%1: all the same").arg(both)
                                                                       : tr("%1: %2").arg(both, parts.join(QStringLiteral(", "))));
}

void CompareDialog::showCalls(int row)
{
    if (row < 0 || row >= static_cast<int>(m_pairs.size())) {
        m_calls->clear();
        return;
    }
    const PacketPair& pair = m_pairs[static_cast<std::size_t>(row)];
    m_calls->setPlainText(text(side_by_side(*m_a.trace, *m_a.journeys, *m_b.trace, *m_b.journeys, pair, m_comparison.visible)));
    const Colors& c = Theme::instance().colors();
    QList<QTextEdit::ExtraSelection> marks;
    QTextCursor first;
    for (QTextBlock line = m_calls->document()->begin(); line.isValid(); line = line.next()) {
        const QString mark = line.text().left(4).trimmed();
        if (mark != QStringLiteral("<") && mark != QStringLiteral(">")) {
            continue;
        }
        QTextEdit::ExtraSelection selection;
        QColor wash = mark == QStringLiteral("<") ? c.accent : c.softirq;
        wash.setAlphaF(first.isNull() ? 0.34F : 0.13F); // where the ways part stands out
        selection.format.setBackground(wash);
        selection.format.setProperty(QTextFormat::FullWidthSelection, true);
        selection.cursor = QTextCursor(line);
        first = first.isNull() ? selection.cursor : first;
        marks << selection;
    }
    m_calls->setExtraSelections(marks);
    if (!first.isNull()) {
        m_calls->setTextCursor(first);
        m_calls->centerCursor();
    }
    if (pair.a != PacketId::none) {
        emit packetChosen(pair.a);
    }
}

void CompareDialog::choose(PacketId inA)
{
    const auto found = std::ranges::find(m_pairs, inA, &PacketPair::a);
    if (inA != PacketId::none && found != m_pairs.end()) {
        m_list->setCurrentRow(static_cast<int>(found - m_pairs.begin()));
    }
}

} // namespace skbscope::ui
