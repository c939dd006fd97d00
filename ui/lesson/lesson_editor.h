#pragma once
// The drawer in which a teacher writes a lesson: the text of its lesson.md, kept in the file as it is typed, what is wrong with
// it, and a way to add the moment shown as a step. Only lessons of one's own are written here.

#include "lessons/reader/lesson.h"

#include <QFileSystemWatcher>
#include <QTimer>
#include <QWidget>
#include <filesystem>

class QPushButton;
class QToolButton;
class QUndoStack;

namespace skbscope::ui {

class CodeEditor;
class Label;

/// lesson.md of a new lesson: its front matter and one step. `driver` is "scenario" or "recording", `file` its name in the folder.
[[nodiscard]] QString newLessonText(const QString& title, const QString& kernel, const QString& driver, const QString& file, const QString& step);

class LessonEditor : public QWidget {
    Q_OBJECT

public:
    explicit LessonEditor(QUndoStack* undo, QWidget* parent = nullptr);
    /// Shows that lesson's text; empty: none. What was typed before is in its file.
    void setFolder(const std::filesystem::path& folder);
    [[nodiscard]] const std::filesystem::path& folder() const { return m_folder; }
    /// Puts the step behind that one (from 0; -1: before all) and writes the file. Can be taken back. False: it could not be written.
    bool insertStep(const QString& step, int behind);
    /// The step in whose text the cursor stands, from 0.
    [[nodiscard]] int stepAtCursor() const;
    void goToStep(int step);
    /// A prediction or an experiment to be filled in, at the end of the step in which the cursor stands.
    void insertBlock(const QString& block);
    /// Lines of an experiment in this lesson, `knobs:` or `do:`, to begin with; empty for a recording.
    void setExperimentLines(const QString& lines) { m_experiment = lines; }
    /// As if the pause after the last key were over: writes what is not written, reads it as a player would.
    bool keep();
    [[nodiscard]] CodeEditor* editor() const { return m_editor; }
    [[nodiscard]] QString status() const;

signals:
    /// The file holds another text, and a player can read it.
    void changed();
    void momentWanted();
    void checkWanted();
    void closed();
    void failed(const QString& words);

private:
    class Insertion;
    bool replaceText(const QString& text, qsizetype cursorAt);
    void fileChanged();
    /// Lines, from 1, at which steps begin.
    [[nodiscard]] std::vector<int> headings() const;
    [[nodiscard]] QString path() const;
    bool read(); ///< what a player says of the file; false: it cannot be played

    QUndoStack* m_undo;
    std::filesystem::path m_folder;
    QString m_kept; ///< what the file holds
    QString m_experiment;
    QTimer m_pause;
    QFileSystemWatcher m_watcher;
    CodeEditor* m_editor;
    Label* m_title;
    QPushButton* m_status;
};

} // namespace skbscope::ui
