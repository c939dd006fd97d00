#pragma once
// A lesson on the left: its steps with text, prediction and experiment. Each step is complete in itself: it moves the
// playhead to its stop from wherever it stood, so that back, forth and jumps are free.

#include "lessons/reader/lesson.h"

#include <QWidget>
#include <optional>
#include <vector>

class QProgressBar;
class QPushButton;
class QScrollArea;
class QVBoxLayout;

namespace skbscope::ui {

class BranchList;
class KnobEditor;
class Label;
class MarkdownView;
class Session;

class LessonPanel : public QWidget {
    Q_OBJECT

public:
    explicit LessonPanel(QWidget* parent = nullptr);
    /// The session must play the lesson's own scenario or recording. Both may be null: no lesson.
    void setLesson(std::optional<Lesson> lesson, Session* session);
    [[nodiscard]] const Lesson* lesson() const { return m_lesson ? &*m_lesson : nullptr; }
    [[nodiscard]] int step() const { return m_step; }
    [[nodiscard]] int stepCount() const { return m_lesson ? static_cast<int>(m_lesson->steps.size()) : 0; }
    /// The same lesson, written anew: the run stays as it is, the step is shown.
    void replaceLesson(Lesson lesson, int step);
    void goTo(int step);
    /// It is the person's own, and can be written in this window.
    void setWritable(bool on);
    /// Says anew at which rooms the step points: somebody else has shown the map meanwhile.
    void pointAgain();

    // For tests and for a lesson that plays itself.
    void choose(int choice);     ///< answers the step's question
    void runExperiment();        ///< as the button does
    void runWhatIf();            ///< from the moment shown, with the experiment's knobs as a person has set them
    [[nodiscard]] BranchList* branches() const { return m_branches; } ///< null: the step has no knobs
    [[nodiscard]] bool answered() const { return m_chosen >= 0; }
    [[nodiscard]] bool goalReached() const { return m_goal && m_goal->reached; }
    [[nodiscard]] QString progressText() const;
    [[nodiscard]] const std::vector<KnobEditor*>& knobs() const { return m_knobs; }

signals:
    /// What a step wants seen.
    void pointsAt(const std::vector<skbscope::RoomId>& rooms);
    void unfolds(const std::vector<std::string>& panels);
    void stepChanged(int step);
    void writingWanted();
    /// Behind the last step.
    void finished();
    void failed(const QString& message);

private:
    void build();
    void buildQuestion(const Question& question, QVBoxLayout* column);
    void buildExperiment(const Experiment& experiment, QVBoxLayout* column);
    void movePlayhead();
    void resizeWords(); ///< to the theme's reading scale
    void refreshProgress();

    std::optional<Lesson> m_lesson;
    Session* m_session = nullptr;
    int m_step = 0;
    bool m_altered = false; ///< the run is no longer the lesson's own: an experiment or a knob changed it
    bool m_ourOwn = false;  ///< we are the ones who replace the trace
    int m_chosen = -1;
    double m_speedBefore = 0; ///< of play, before an experiment chose its own; 0: it did not
    std::optional<GoalResult> m_goal;

    qreal m_wordsScale = 1; ///< of the labels as they are
    Label* m_title;
    Label* m_count;
    QProgressBar* m_bar;
    QPushButton* m_write;
    QScrollArea* m_scroll;
    QWidget* m_page = nullptr;
    QPushButton* m_back;
    QPushButton* m_next;
    std::vector<QPushButton*> m_choices;
    MarkdownView* m_explanation = nullptr;
    std::vector<KnobEditor*> m_knobs;
    Label* m_progress = nullptr;
    Label* m_goalText = nullptr;
    MarkdownView* m_after = nullptr;
    BranchList* m_branches = nullptr;
};

} // namespace skbscope::ui
