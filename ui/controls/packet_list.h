#pragma once
// The packets of a trace, one to a row: number, flow, how it ended (as far as the playhead has come) and when it was born. Filtered
// by how they ended and by words. Grows with a live trace; where the newest one is in sight it stays so.

#include "core/trace/event.h"
#include "core/trace/trace.h"

#include <QAbstractListModel>
#include <QListView>
#include <QTimer>
#include <QWidget>
#include <optional>
#include <vector>

class QComboBox;
class QLineEdit;

namespace skbscope::ui {

class Label;
class Session;

/// The rows: packets that pass the filters, in the order of their numbers.
class PacketRows : public QAbstractListModel {
    Q_OBJECT

public:
    using QAbstractListModel::QAbstractListModel;

    /// Null: no rows.
    void setSession(Session* session);
    /// Of one verdict (in_flight: whose end the trace did not see) or, without, of all; and with these words in their line.
    void setFilter(std::optional<Verdict> verdict, const QString& words);
    /// Takes in what the trace has gained.
    void follow();
    /// All anew: packets may have been taken back.
    void reload();

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    /// DisplayRole: the whole line, with tabs; the rest is painted by the view.
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] PacketId packet(int row) const { return m_rows[static_cast<std::size_t>(row)]; }
    /// -1: filtered away.
    [[nodiscard]] int rowOf(PacketId packet) const;

    /// What a row shows of a packet at the playhead.
    struct Words {
        QString number; ///< "#46"
        QString flow;   ///< "UDP 10.0.0.7:40212 → 10.0.0.1:53"
        QString state; ///< "dropped: SOCKET_RCVBUFF", "on the way", "not born yet"
        QString time;  ///< birth, from the trace's beginning; empty where times mean nothing
        Verdict verdict = Verdict::in_flight;
        bool born = false;
    };
    [[nodiscard]] Words words(PacketId packet) const;

private:
    [[nodiscard]] bool passes(const PacketRecord& packet) const;

    Session* m_session = nullptr;
    std::optional<Verdict> m_verdict;
    QString m_words;
    std::vector<PacketId> m_rows;
    std::vector<PacketId> m_open; ///< looked at, not in m_rows, and may still come to pass
    std::size_t m_seen = 0;       ///< packets of the trace looked at so far
};

class PacketList : public QWidget {
    Q_OBJECT

public:
    explicit PacketList(QWidget* parent = nullptr);
    void setSession(Session* session);
    /// Selects the next packet after the selected one that was dropped so, the first one after the last, and goes to its end. `room`:
    /// where it was dropped; none: anywhere. False: there is none in what is known.
    static bool goToDrop(Session& session, DropReasonId reason, RoomId room);

    [[nodiscard]] PacketRows& rows() { return m_model; }
    [[nodiscard]] QListView* view() const { return m_view; }
    [[nodiscard]] QComboBox* verdicts() const { return m_verdicts; }
    [[nodiscard]] QLineEdit* field() const { return m_field; }
    /// What the list says where it has no rows, or how many there are.
    [[nodiscard]] QString remark() const;
    /// Lists what has come by now; by itself that takes a moment, so that a stream does not keep it busy.
    void grow();

protected:
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    void choose(const QModelIndex& index);
    void filter();
    void showSelected();
    void refreshRemark();
    void copy() const;

    Session* m_session = nullptr;
    PacketRows m_model;
    QComboBox* m_verdicts;
    QLineEdit* m_field;
    QListView* m_view;
    Label* m_remark;
    QTimer m_grown;      ///< a moment after the trace has grown
    bool m_atEnd = true;  ///< the newest row is in sight, and stays so while the trace grows
    bool m_quiet = false; ///< the selection is being followed, not made
};

} // namespace skbscope::ui
