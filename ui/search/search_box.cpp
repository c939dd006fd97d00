#include "ui/search/search_box.h"

#include "core/catalog/catalog.h"
#include "ui/player/session.h"
#include "ui/search/search_index.h"
#include "ui/theme/theme.h"

#include <QFocusEvent>
#include <QKeyEvent>
#include <QListWidget>
#include <QPainter>
#include <QStyledItemDelegate>
#include <algorithm>

namespace skbscope::ui {

namespace {

class Row : public QStyledItemDelegate {
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override { return {200, 30}; }
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override
    {
        const Colors& c = Theme::instance().colors();
        if ((option.state & QStyle::State_Selected) != 0) {
            QColor wash = c.accent;
            wash.setAlphaF(Theme::instance().isDark() ? 0.28F : 0.14F);
            painter->fillRect(option.rect, wash);
        }
        const QRect box = option.rect.adjusted(10, 0, -10, 0);
        painter->setFont(Theme::sans(11));
        painter->setPen(c.textMuted);
        painter->drawText(box, Qt::AlignRight | Qt::AlignVCenter, index.data(Qt::UserRole + 1).toString());
        const int right = box.right() - 64;
        painter->setFont(Theme::mono(12));
        painter->setPen(c.text);
        const QString title = painter->fontMetrics().elidedText(index.data().toString(), Qt::ElideRight, right - box.left());
        painter->drawText(box, Qt::AlignVCenter, title);
        const int used = painter->fontMetrics().horizontalAdvance(title) + 12;
        painter->setFont(Theme::sans(11));
        painter->setPen(c.textMuted);
        const int room = right - box.left() - used;
        if (room > 30) {
            painter->drawText(box.adjusted(used, 0, 0, 0), Qt::AlignVCenter,
                              painter->fontMetrics().elidedText(index.data(Qt::UserRole).toString(), Qt::ElideRight, room));
        }
    }
};

} // namespace

SearchBox::SearchBox(QWidget* parent) : QLineEdit(parent)
{
    setPlaceholderText(tr("/ find a packet, function, socket, setting"));
    setAccessibleName(tr("Find"));
    setToolTip(tr("Find (/)"));
    setFocusPolicy(Qt::StrongFocus);
    setFixedHeight(30);
    m_list = new QListWidget;
    m_list->setItemDelegate(new Row(m_list));
    m_list->setFocusPolicy(Qt::NoFocus);
    m_list->setFrameShape(QFrame::NoFrame);
    m_list->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_list->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_list->setObjectName(QStringLiteral("searchList"));
    m_list->hide();
    connect(this, &QLineEdit::textEdited, this, &SearchBox::refresh);
    connect(m_list, &QListWidget::itemClicked, this, [this] { choose(m_list->currentRow()); });
}

SearchBox::~SearchBox()
{
    delete m_list;
}

void SearchBox::setSession(Session* session)
{
    m_session = session;
    leave();
}

void SearchBox::refresh()
{
    m_found = search(m_session, text());
    m_list->clear();
    for (const Found& found : m_found) {
        auto* item = new QListWidgetItem(found.title, m_list);
        item->setData(Qt::UserRole, found.detail);
        item->setData(Qt::UserRole + 1, found.kindText());
    }
    if (m_found.empty() && !text().trimmed().isEmpty()) {
        auto* item = new QListWidgetItem(tr("nothing found"), m_list);
        item->setFlags(Qt::NoItemFlags);
    }
    if (m_list->count() == 0) {
        m_list->hide();
        return;
    }
    m_list->setCurrentRow(0);
    place();
}

void SearchBox::place()
{
    // A child of the window, not a window: it stands in pictures, and no window manager moves it.
    QWidget* top = window();
    if (m_list->parentWidget() != top) {
        m_list->setParent(top);
    }
    const Colors& c = Theme::instance().colors();
    m_list->setStyleSheet(QStringLiteral("#searchList { background: %1; border: 1px solid %2; border-radius: 6px; padding: 4px; }")
                              .arg(c.card.name(), c.border.name()));
    const int wide = std::max(width(), 420);
    const QPoint corner = mapTo(top, QPoint(width() - wide, height() + 4));
    m_list->setGeometry(std::max(8, corner.x()), corner.y(), wide, m_list->count() * 30 + 10);
    m_list->show();
    m_list->raise();
}

void SearchBox::resizeEvent(QResizeEvent* event)
{
    QLineEdit::resizeEvent(event);
    if (m_list->isVisible()) {
        place();
    }
}

void SearchBox::moveEvent(QMoveEvent* event)
{
    QLineEdit::moveEvent(event);
    if (m_list->isVisible()) {
        place();
    }
}

void SearchBox::leave()
{
    m_list->hide();
    m_found.clear();
    clear();
}

void SearchBox::choose(int row)
{
    if (row < 0 || row >= static_cast<int>(m_found.size())) {
        return;
    }
    const Found found = m_found[static_cast<std::size_t>(row)];
    leave();
    if (m_session != nullptr) {
        emit chosen();
    }
    if (found.kind == Found::Kind::setting) {
        // A setting is no place on the map, but the room that it governs is.
        for (const Room& room : Catalog::rooms()) {
            const auto governs = std::any_of(room.settings.begin(), room.settings.end(),
                                             [&](std::string_view name) { return name == found.title.toStdString(); });
            if (governs && m_session != nullptr) {
                Selection selection;
                selection.room = room.id;
                m_session->select(selection);
                break;
            }
        }
        emit settingChosen(found.title);
        return;
    }
    if (m_session == nullptr) {
        return;
    }
    m_session->pause();
    if (found.kind == Found::Kind::moment) {
        m_session->seek(found.time);
    } else if (found.kind == Found::Kind::packet) {
        m_session->selectPacket(found.packet);
        m_session->seek(m_session->trace().packet(found.packet).birth);
    } else {
        Selection selection;
        selection.packet = found.kind == Found::Kind::function ? m_session->selection().packet : PacketId::none;
        selection.room = found.room;
        selection.function = found.function;
        selection.queue = found.queue;
        m_session->select(selection);
        if (found.kind == Found::Kind::function) {
            m_session->seekToFunction(found.function);
        }
    }
    if (parentWidget() != nullptr) {
        window()->setFocus();
    }
}

void SearchBox::keyPressEvent(QKeyEvent* event)
{
    switch (event->key()) {
    case Qt::Key_Down:
    case Qt::Key_Up: {
        const int by = event->key() == Qt::Key_Down ? 1 : -1;
        if (!m_found.empty()) {
            const int count = static_cast<int>(m_found.size());
            m_list->setCurrentRow((m_list->currentRow() + by + count) % count);
        }
        return;
    }
    case Qt::Key_Return:
    case Qt::Key_Enter: choose(m_list->currentRow()); return;
    case Qt::Key_Escape:
        leave();
        window()->setFocus();
        return;
    default: QLineEdit::keyPressEvent(event);
    }
}

void SearchBox::focusOutEvent(QFocusEvent* event)
{
    QLineEdit::focusOutEvent(event);
    // A click into the list takes no focus; anything else ends the search.
    if (event->reason() != Qt::ActiveWindowFocusReason && event->reason() != Qt::PopupFocusReason) {
        m_list->hide();
    }
}

} // namespace skbscope::ui
