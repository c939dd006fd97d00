#pragma once
// The drawer under the map where packet filter rules and socket filters are written: which text, the editor, what is wrong with
// it, and what it has done so far. A text that does not parse changes nothing.

#include "core/trace/source.h"

#include <QTimer>
#include <QWidget>
#include <map>

class QMenu;
class QPushButton;
class QToolButton;
class QUndoStack;

namespace skbscope::ui {

class Choice;
class CodeEditor;
class Label;
class RulesHighlighter;
class Session;

class RulesPanel : public QWidget {
    Q_OBJECT

public:
    explicit RulesPanel(QUndoStack* undo, QWidget* parent = nullptr);
    void setSession(Session* session);
    /// Shows that text; unknown: the one shown stays.
    void choose(const QString& key);
    [[nodiscard]] QString key() const { return m_key; }
    /// What is written is not what is in force.
    [[nodiscard]] bool isEdited() const;
    /// Any of the texts has been changed and not applied.
    [[nodiscard]] bool hasDrafts() const { return !drafts().isEmpty(); }
    /// The keys of those, in the order of the choice.
    [[nodiscard]] QStringList drafts() const;
    [[nodiscard]] QString titleOf(const QString& key) const;
    /// Applies every draft, one after the other. False: one is wrong; it is shown, it and those behind it stay drafts.
    bool applyAll();
    /// Also while the text is wrong: then it says so and changes nothing. False: nothing was applied.
    bool apply();
    void revert();
    void insertExample(int index);

    [[nodiscard]] CodeEditor* editor() const { return m_editor; }
    [[nodiscard]] Choice* choice() const { return m_choice; }
    [[nodiscard]] QPushButton* applyButton() const { return m_apply; }
    [[nodiscard]] QPushButton* revertButton() const { return m_revert; }
    [[nodiscard]] QMenu* examples() const { return m_examples; }
    [[nodiscard]] QString status() const;
    /// As if the pause after the last key were over.
    void checkNow();

signals:
    void closed();
    void said(const QString& words);

protected:
    void showEvent(QShowEvent* event) override;

private:
    void reload();       ///< other texts are there, or they were changed
    void showText(const QString& key);
    void textEdited();
    void refreshState(); ///< buttons and the line below
    void refreshFigures();
    void refreshDecided();
    void fillExamples();
    [[nodiscard]] const TextKnob* current() const;
    [[nodiscard]] QString draft() const;

    QUndoStack* m_undo;
    Session* m_session = nullptr;
    std::vector<TextKnob> m_texts;
    QString m_key;
    std::map<QString, QString> m_drafts; ///< by key: edited, not applied, not shown now
    std::optional<TextFault> m_fault;
    bool m_checked = true; ///< m_fault speaks of the text as it stands
    QString m_decidedBy;
    QTimer m_pause;        ///< after the last key

    Choice* m_choice;
    Label* m_state;
    QToolButton* m_insert;
    QMenu* m_examples;
    QPushButton* m_revert;
    QPushButton* m_apply;
    CodeEditor* m_editor;
    RulesHighlighter* m_highlighter;
    QPushButton* m_status; ///< a line that leads to the fault
};

} // namespace skbscope::ui
