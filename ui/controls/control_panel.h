#pragma once
// The left side when no lesson is open: what can be done to the source and what has happened. For the model its actions
// and knobs, for a recording what it is and what is known of it.

#include <QWidget>
#include <vector>

class QUndoStack;
class QVBoxLayout;

namespace skbscope::ui {

class KnobEditor;
class Label;
class Session;

class ControlPanel : public QWidget {
    Q_OBJECT

public:
    explicit ControlPanel(QUndoStack* undo, QWidget* parent = nullptr);
    void setSession(Session* session);
    [[nodiscard]] const std::vector<KnobEditor*>& knobs() const { return m_knobs; }

private:
    void rebuild();
    void refresh();
    void refreshKnobs();

    QUndoStack* m_undo;
    Session* m_session = nullptr;
    QWidget* m_content = nullptr;
    QVBoxLayout* m_column;
    std::vector<KnobEditor*> m_knobs;
    Label* m_summary = nullptr;
};

} // namespace skbscope::ui
