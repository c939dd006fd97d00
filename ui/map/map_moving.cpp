// What moves on the map but the tokens: running rooms, levels of queues, drops, ksoftirqd, what is selected.
#include "ui/map/map_paint.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"

#include <QPainter>
#include <algorithm>

namespace skbscope::ui {

using namespace map_paint;

namespace {

QString shortContext(Context context)
{
    switch (context) {
    case Context::process: return QStringLiteral("process");
    case Context::softirq: return QStringLiteral("softirq");
    case Context::hardirq: return QStringLiteral("hardirq");
    case Context::nmi: return QStringLiteral("NMI");
    }
    return {};
}

} // namespace

void MapView::paintActivity(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const qreal r = radius::card * s;
    // Rooms on the call path: a breath of the context's colour. Rooms where a call runs: its border too.
    std::vector<const MapActivity*> inner;
    std::vector<std::uint8_t> tinted(Catalog::rooms().size(), 0);
    for (const MapActivity& activity : m_scene->activity()) {
        const QRectF rect = m_layout->room(activity.room);
        if (rect.isEmpty() || Catalog::room(activity.room).key == "wire") {
            continue;
        }
        if (activity.innermost) {
            inner.push_back(&activity);
        }
        auto& done = tinted[to_index(activity.room)];
        const auto bit = static_cast<std::uint8_t>(1U << static_cast<unsigned>(activity.context));
        if ((done & bit) != 0) {
            continue;
        }
        done |= bit;
        p.setPen(Qt::NoPen);
        p.setBrush(faded(Theme::instance().context(activity.context), Theme::instance().isDark() ? 0.13 : 0.09));
        p.drawRoundedRect(rect, r, r);
    }
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const MapActivity& activity = *inner[i];
        const QRectF rect = m_layout->room(activity.room);
        const QColor ring = Theme::instance().context(activity.context);
        p.setPen(QPen(ring, 1.6 * s));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), r, r);

        // Which CPU, in which context: left of the tokens, in two short lines. Several CPUs in one room share the words.
        if (std::any_of(inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(i),
                        [&](const MapActivity* other) { return other->room == activity.room; })) {
            continue;
        }
        QString numbers = QString::number(to_index(activity.cpu));
        for (std::size_t j = i + 1; j < inner.size(); ++j) {
            if (inner[j]->room == activity.room) {
                numbers += QStringLiteral(", %1").arg(to_index(inner[j]->cpu));
            }
        }
        const Room& room = Catalog::room(activity.room);
        const bool napi = isRoom(room, "napi_poll");
        int standing = 0;
        for (const MapToken& token : m_scene->tokens()) {
            standing += token.kind != MapToken::Kind::waiting && token.kind != MapToken::Kind::ended && token.room == activity.room ? 1 : 0;
        }
        standing = std::min(standing, m_layout->spots(activity.room));
        const bool tray = std::any_of(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == activity.room; });
        const QFont bold = Theme::sans(std::max(least_small, 9.5 * s), QFont::DemiBold);
        const QString cpuWords = tr("CPU %1").arg(numbers);
        const QString contextWords = shortContext(activity.context);
        const QFontMetricsF boldMetrics(bold);
        const qreal width = std::max(42 * s, std::max(boldMetrics.horizontalAdvance(cpuWords), boldMetrics.horizontalAdvance(contextWords)) + 2 * s);
        const QRectF content = m_layout->content(activity.room);
        qreal right = napi ? content.right() - 6 * s : content.right() - (standing == 0 ? 6 : standing * 34 + 8) * s;
        const QFont mono = Theme::mono(10.6 * s);
        const QColor ink = Theme::instance().contextText(activity.context);
        const qreal left = rect.left() + 11 * s;
        const QString roomTitle = titleOf(room);
        const QFont title = fittedSans(roomTitle, textRight(room.id) - left, 12 * s, least_title, QFont::DemiBold); // as it is painted
        const qreal titleRight = left + QFontMetricsF(title).horizontalAdvance(roomTitle) + 5 * s;
        if (!tray && !hasTwoLines(rect) && right - width < titleRight) {
            continue; // the lanes say which CPU it is
        }
        // The function that runs right now takes the place of the room's usual one.
        if (!tray && hasTwoLines(rect)) {
            const QString name = text(m_session->trace().function_name(activity.function));
            const QFont wanted = Theme::mono(std::max(least_mono, 10.6 * s)); // never smaller than the name of a room at rest
            const QFontMetricsF monoMetrics(wanted);
            const QString oneLine = QStringLiteral("%1 %2").arg(cpuWords, contextWords);
            const WorkingWords place = napi ? WorkingWords{m_layout->spot(activity.room, 0).x() - 18 * s - left, WorkingWords::Cpu::two_lines}
                                            : placeWorkingWords({left, right, titleRight, monoMetrics.horizontalAdvance(name) + 4 * s, width,
                                                                 boldMetrics.horizontalAdvance(oneLine) + 2 * s, boldMetrics.horizontalAdvance(cpuWords) + 2 * s});
            const QRectF line(left, rect.center().y() + 0.5 * s, m_layout->content(activity.room).right() - left - 3 * s, rect.height() / 2 - 4 * s);
            QColor ground = mixed(c.card, Theme::instance().context(activity.context), Theme::instance().isDark() ? 0.13 : 0.09);
            p.fillRect(line.adjusted(0, 1, 0, 1), ground); // below the title's descenders
            const QFont fitted = fittedMono(name, place.nameWidth - 3 * s, 10.6 * s, least_mono);
            p.setFont(fitted);
            p.setPen(c.text);
            p.drawText(line, Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip, elidedName(fitted, name, place.nameWidth - 3 * s));
            if (place.cpu == WorkingWords::Cpu::upper_line || place.cpu == WorkingWords::Cpu::number_only) {
                p.setFont(bold);
                p.setPen(ink);
                p.drawText(QRectF(titleRight, rect.top() + 3 * s, right - titleRight - 2 * s, rect.height() / 2 - 2 * s), Qt::AlignRight | Qt::AlignVCenter,
                           place.cpu == WorkingWords::Cpu::upper_line ? oneLine : cpuWords);
            }
            if (place.cpu != WorkingWords::Cpu::two_lines) {
                continue;
            }
        }
        if (tray) {
            // An empty tray lends its slots to the name of what runs.
            const auto shown = std::find_if(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == activity.room; });
            if (shown->packets == 0) {
                const QRectF line = shown->slotRow.adjusted(-2 * s, -1, 2 * s, 1);
                p.fillRect(line, mixed(c.card, Theme::instance().context(activity.context), Theme::instance().isDark() ? 0.13 : 0.09));
                const qreal taken = m_layout->room(activity.room).right() - line.right() < 20 * s && standing > 0 ? 34 * s * standing : 0;
                p.setFont(mono);
                p.setPen(c.text);
                p.drawText(line.adjusted(2 * s, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter,
                           elidedName(mono, text(m_session->trace().function_name(activity.function)), line.width() - taken - 4 * s));
            }
            continue;
        }
        p.setFont(bold);
        p.setPen(ink);
        const QRectF words(right - width, rect.top() + 3 * s, width - 2 * s, rect.height() - 6 * s);
        p.drawText(QRectF(words.left() - 20 * s, words.top(), words.width() + 20 * s, words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, cpuWords);
        p.drawText(QRectF(words.left() - 20 * s, words.center().y(), words.width() + 20 * s, words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, contextWords);
    }

    // The NAPI poll encloses most of what receives: it always says which CPUs are in it.
    const RoomId poll = Catalog::find_room("napi_poll");
    QStringList cpus;
    bool here = false;
    for (const MapActivity& activity : m_scene->activity()) {
        const QString cpu = QString::number(to_index(activity.cpu));
        if (activity.room == poll && !cpus.contains(cpu)) {
            cpus << cpu;
        }
        here |= activity.room == poll && activity.innermost;
    }
    if (!cpus.isEmpty() && !here) {
        const QRectF content = m_layout->content(poll);
        p.setFont(Theme::sans(std::max(least_small, 9.5 * s), QFont::DemiBold));
        p.setPen(c.softirqText);
        const QRectF words(content.right() - 70 * s, content.top() + 3 * s, 62 * s, content.height() - 6 * s);
        p.drawText(QRectF(words.left(), words.top(), words.width(), words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, tr("CPU %1").arg(cpus.join(QStringLiteral(", "))));
        p.drawText(QRectF(words.left(), words.center().y(), words.width(), words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, shortContext(Context::softirq));
    }

    if (m_scene->irqMasked()) {
        const QRectF irq = m_layout->room(Catalog::find_room("irq"));
        p.setFont(Theme::sans(std::max(least_small, 9.5 * s)));
        p.setPen(c.hardirqText);
        p.drawText(QRectF(irq.right() + 8 * s, irq.top(), 100 * s, irq.height()), Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip,
                   tr("masked until\nthe poll is done"));
    }
}

void MapView::paintTrays(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const QFont figures = Theme::mono(std::max(least_mono, 10.6 * s));
    const QFont strong = Theme::mono(std::max(least_mono, 10 * s), QFont::Bold);
    for (const MapTray& tray : m_scene->trays()) {
        const QueueUnit unit = m_session->trace().queue(tray.queue).unit;
        const bool alarm = tray.full && tray.level > 0;
        const QFont& font = alarm ? strong : figures;
        if (isFaint(tray)) {
            continue;
        }
        p.setFont(font);
        p.setPen(alarm ? c.drop : c.textMuted);
        const QString count = tray.low ? QString() : trayCount(tray);
        p.drawText(QRectF(tray.card.left(), tray.card.top() + 2.5 * s, tray.card.width() - 8 * s, 15 * s), Qt::AlignRight | Qt::AlignVCenter | Qt::TextDontClip, count);
        // The limit, where it lies among the slots drawn.
        if (unit == QueueUnit::packets && tray.limit > 0 && tray.limit <= static_cast<std::uint64_t>(tray.slotCount) && tray.full) {
            const qreal x = tray.slotRow.left() + static_cast<qreal>(tray.limit) * tray.slotWidth;
            p.fillRect(QRectF(x - 1.25 * s, tray.slotRow.top() - 2 * s, 2.5 * s, tray.slotRow.height() + 4 * s), c.drop);
        }
        const int hidden = tray.hiddenPackets();
        if (hidden > 0) {
            const QFont small = Theme::mono(std::max(8.0, 8.5 * s), QFont::Bold);
            QString more = QStringLiteral("+%1").arg(hidden);
            QRectF slot = tray.slot(tray.slotCount - tray.moreSlots).united(tray.slot(tray.slotCount - 1));
            slot.adjust(1.2, 0, -1.2, 0);
            p.setPen(Qt::NoPen);
            p.setBrush(c.card);
            p.drawRoundedRect(slot, 3 * s, 3 * s);
            p.setBrush(faded(c.accent, 0.16));
            p.drawRoundedRect(slot, 3 * s, 3 * s);
            p.setPen(c.text);
            p.setFont(small);
            p.drawText(slot, Qt::AlignCenter, more);
        }
        // Bytes held against the limit: a thin gauge along the bottom.
        if (unit == QueueUnit::bytes && tray.limit > 0) {
            const QRectF rail(tray.slotRow.left() + 1, tray.card.bottom() - 3 * s, tray.slotRow.width() - 2, 1.8 * s);
            const qreal share = std::min(1.0, static_cast<double>(tray.level) / static_cast<double>(tray.limit));
            if (share > 0) {
                p.setPen(Qt::NoPen);
                p.setBrush(alarm ? c.drop : c.gauge);
                p.drawRoundedRect(QRectF(rail.left(), rail.top(), std::max(2 * s, rail.width() * share), rail.height()), 0.9 * s, 0.9 * s);
            }
        }
    }
}

void MapView::paintKsoftirqd(QPainter& p)
{
    const RoomId softirq = Catalog::find_room("softirq");
    const QRectF rect = m_layout->room(softirq);
    if (rect.isEmpty()) {
        return;
    }
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const StackState& state = m_session->state();
    const Trace& trace = m_session->trace();
    QString words;
    QStringList runs;
    for (std::size_t cpu = 0; cpu < state.cpus().size(); ++cpu) {
        const std::size_t task = to_index(state.cpus()[cpu].task);
        if (task < trace.tasks().size() && trace.tasks()[task].name.starts_with("ksoftirqd")) {
            runs << text(trace.tasks()[task].name).section('/', 1);
        }
    }
    const bool running = !runs.isEmpty();
    if (running) { // "ksoftirqd/0, 1 run"
        words = (runs.size() == 1 ? tr("ksoftirqd/%1 runs") : tr("ksoftirqd/%1 run")).arg(runs.join(QStringLiteral(", ")));
    }
    const bool known = std::any_of(trace.tasks().begin(), trace.tasks().end(), [](const TaskRecord& t) { return t.name.starts_with("ksoftirqd"); });
    if (!running) {
        // What no record says is not said here either: the room's function stands instead.
        words = known || !trace.info.observed ? tr("ksoftirqd asleep") : functionOf(Catalog::room(softirq));
    }
    for (const MapActivity& activity : m_scene->activity()) {
        if (activity.room == softirq && activity.innermost) {
            return; // the running function stands there
        }
    }
    const qreal left = rect.left() + 11 * s;
    if (hasTwoLines(rect)) {
        const QRectF line(left, rect.center().y() + 0.5 * s, rect.width() - 14 * s, rect.height() / 2 - 4 * s);
        const QFont font = fittedSans(words, line.width(), 10 * s, least_small, running ? QFont::DemiBold : QFont::Normal);
        p.setFont(font);
        p.setPen(running ? c.softirqText : lit(softirq) ? c.textMuted : faintText());
        p.drawText(line, Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip, elided(font, words, line.width()));
    }
    if (running) {
        p.setPen(QPen(c.softirq, 1.6 * s, Qt::DashLine));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(rect, radius::card * s, radius::card * s);
    }
}

void MapView::paintDrops(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    for (const MapDrops& drops : m_scene->drops()) {
        const QRectF area = m_layout->drops(drops.room);
        if (area.isEmpty()) {
            continue;
        }
        const QFont bold = Theme::sans(std::max(least_small, 10.5 * s), QFont::Bold);
        const QString count = QStringLiteral("× %1").arg(countText(drops.count));
        const qreal width = std::max(34 * s, QFontMetricsF(bold).horizontalAdvance(count) + 16 * s);
        const qreal height = std::min(15 * s, area.height() * 0.52);
        QString reason = drops.reason == DropReasonId::none ? tr("no reason given") : text(Catalog::drop_reason(drops.reason).name);
        if (drops.reasons > 1) {
            reason += QStringLiteral(" +%1").arg(drops.reasons - 1);
        }
        const qreal wide = area.width() + 6 * s;
        const qreal smallest = std::max(8.0, 8.4 * s);
        qreal size = std::max(smallest, 9.8 * s);
        while (size > smallest && QFontMetricsF(Theme::mono(size, QFont::Bold)).horizontalAdvance(reason) > wide) {
            size = std::max(smallest, size - 0.5);
        }
        const QFont mono = Theme::mono(size, QFont::Bold);
        const QFontMetricsF metrics(mono);
        QStringList lines{reason};
        if (metrics.horizontalAdvance(reason) > wide) {
            const auto cut = reason.indexOf('_', reason.size() / 3);
            if (cut > 0 && area.height() - height > 15 * s) {
                lines = {reason.left(cut + 1), reason.mid(cut + 1)};
            }
        }
        const qreal line = std::max(8.4, size * 1.07);
        qreal y = area.center().y() - (height + line * static_cast<qreal>(lines.size()) + 1 * s) / 2;
        const QRectF pill(area.center().x() - width / 2, y, width, height);
        if (const QRectF room = m_layout->room(drops.room); area.bottom() <= room.top()) {
            // It stands in the row above: a stem says whose it is. Of several queues it leads to one that has held something.
            qreal x = pill.center().x();
            for (const MapTray& tray : m_scene->trays()) {
                x = tray.room == drops.room && tray.used ? std::clamp(x, tray.card.left() + 8 * s, tray.card.right() - 8 * s) : x;
            }
            p.setPen(QPen(c.drop, 1.3 * s));
            if (x < pill.left() || x > pill.right()) {
                p.drawLine(QPointF(x < pill.left() ? pill.left() : pill.right(), pill.center().y()), QPointF(x, pill.center().y()));
                p.drawLine(QPointF(x, pill.center().y()), QPointF(x, room.top()));
            } else {
                p.drawLine(QPointF(x, pill.bottom() + 1.5 * s + line * static_cast<qreal>(lines.size())), QPointF(x, room.top()));
            }
        }
        p.setPen(QPen(c.drop, 1.3 * s));
        p.setBrush(mixed(c.card, c.drop, 0.10));
        p.drawRoundedRect(pill, height / 2, height / 2);
        p.setFont(bold);
        p.setPen(c.drop);
        p.drawText(pill, Qt::AlignCenter, count);
        p.setFont(mono);
        y = pill.bottom() + 1.5 * s;
        for (const QString& part : lines) {
            p.drawText(QRectF(area.left() - 4 * s, y, area.width() + 8 * s, line), Qt::AlignCenter, elided(mono, part, area.width() + 8 * s));
            y += line;
        }
    }
}


void MapView::paintSelection(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const Selection& selection = m_session->selection();
    const auto outline = [&](const QRectF& rect, const QPen& pen, qreal grow) {
        if (rect.isEmpty()) {
            return;
        }
        p.setPen(pen);
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(rect.adjusted(-grow, -grow, grow, grow), (radius::card + grow / s) * s, (radius::card + grow / s) * s);
    };
    for (const RoomId room : m_pointedAt) {
        for (const int ring : {4, 3, 2, 1}) {
            outline(m_layout->room(room), QPen(faded(c.accent, 0.16), 2 * s), ring * 1.3 * s);
        }
        outline(m_layout->room(room), QPen(c.accent, 1.6 * s), 0);
    }
    if (m_hover.room != RoomId::none) {
        outline(m_layout->room(m_hover.room), QPen(faded(c.accent, 0.55), 1.2 * s), -0.5);
    }
    RoomId chosen = selection.room;
    if (chosen == RoomId::none && selection.function != FunctionId::none && to_index(selection.function) < Catalog::function_count()) {
        chosen = Catalog::room_of(selection.function);
    }
    if (chosen != RoomId::none) {
        QRectF rect = m_layout->room(chosen);
        if (selection.queue != QueueId::none) {
            for (const MapTray& tray : m_scene->trays()) {
                rect = tray.queue == selection.queue ? tray.card : rect;
            }
        }
        outline(rect, QPen(c.accent, 2.2 * s), 0);
    }
    if (m_showFocus && m_focus != RoomId::none) {
        QPen pen(c.accent, 1.4 * s, Qt::CustomDashLine);
        pen.setDashPattern({2.5, 2});
        outline(m_layout->room(m_focus), pen, 3.4 * s);
    }
}

} // namespace skbscope::ui
