#pragma once
// What the window shows when nothing is open: the lessons, recent files, and how to open something.

#include "lessons/reader/lesson.h"
#include "ui/controls/centre_page.h"

#include <QStringList>

class QVBoxLayout;

namespace skbscope::ui {

class Label;

class StartPage : public CentrePage {
    Q_OBJECT

public:
    explicit StartPage(QWidget* parent = nullptr);
    void setContent(const std::vector<LessonEntry>& lessons, const QStringList& recent, bool hasModel);

    /// The line that stands where no lessons are found; null: there are some.
    [[nodiscard]] const Label* noLessons() const { return m_none; }

signals:
    void lessonChosen(const QString& id);
    void fileChosen(const QString& path);
    void openWanted();
    void modelWanted();
    void liveWanted();

private:
    QVBoxLayout* m_column;
    QWidget* m_content = nullptr;
    Label* m_none = nullptr;
};

} // namespace skbscope::ui
