#pragma once
// The left side when no lesson is open: what can be done to the source and what has happened. For the model its actions
// and knobs, for a recording what it is, what is known of it, and its packets.

#include "core/trace/source.h"

#include <QTimer>
#include <QWidget>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

class QLineEdit;
class QScrollArea;
class QToolButton;
class QUndoStack;
class QVBoxLayout;

namespace skbscope::ui {

class BranchList;
class KnobEditor;
class Label;
class PacketList;
class Session;

class ControlPanel : public QWidget {
    Q_OBJECT

public:
    explicit ControlPanel(QUndoStack* undo, QWidget* parent = nullptr);
    void setSession(Session* session);
    /// Those that have been shown so far: a group's are made when it is first unfolded or searched.
    [[nodiscard]] const std::vector<KnobEditor*>& knobs() const { return m_knobs; }
    [[nodiscard]] QLineEdit* search() const { return m_search; }
    /// Shows what is known by now; by itself it waits a moment, so that a stream does not keep it busy.
    void catchUp();
    /// Unfolds what hides that setting's knob, brings it in sight, and gives it the keys. False: there is none.
    bool showKnob(const QString& setting);
    [[nodiscard]] BranchList* branches() const { return m_branches; }
    [[nodiscard]] PacketList* packets() const { return m_packets; }

signals:
    void textsWanted();

private:
    void rebuild();
    void refresh();
    void refreshKnobs();
    void followSettings(); ///< other settings exist than the panel was built for
    [[nodiscard]] std::tuple<std::string, bool, std::size_t> told() const;
    void addKnobs(QVBoxLayout* column, const std::vector<Knob>& all);
    void addTextsButton(QVBoxLayout* column);
    void addHostChoice(QVBoxLayout* column, const std::vector<Knob>& knobs); ///< where there are several
    [[nodiscard]] bool isShown(const Knob& knob) const;                      ///< it is of the chosen host
    KnobEditor* addEditor(const Knob& knob, QVBoxLayout* column);
    void findKnobs(const QString& words);

    /// A heading that unfolds its knobs.
    struct Group {
        QToolButton* heading = nullptr;
        QWidget* page = nullptr;
        std::vector<Knob> knobs; ///< whose editors are not made yet
    };
    void unfold(Group& group, bool open);
    void nameGroups();

    QUndoStack* m_undo;
    Session* m_session = nullptr;
    QWidget* m_content = nullptr;
    QScrollArea* m_scroll;
    QVBoxLayout* m_column;
    std::vector<KnobEditor*> m_knobs;
    std::map<std::string, Group> m_groups;
    QLineEdit* m_search = nullptr;
    Label* m_noneFound = nullptr; ///< says that the search found nothing
    QString m_host; ///< whose knobs are shown; empty: those of all
    BranchList* m_branches = nullptr;
    PacketList* m_packets; ///< outlives the rest of the panel, which is made anew: what is filtered and chosen stays
    Label* m_summary = nullptr;
    std::vector<std::string> m_keys; ///< of the knobs that the panel was built for
    std::tuple<std::string, bool, std::size_t> m_told; ///< kernel, nothing come yet, number of faults: what the panel speaks of
    QTimer m_grown;                  ///< looks for new settings a moment after the trace has grown
};

} // namespace skbscope::ui
