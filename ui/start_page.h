#pragma once
// What the window shows when nothing is open: the lessons, recent files, and how to open something.

#include "lessons/reader/lesson.h"
#include "ui/controls/centre_page.h"

#include <QStringList>

class QVBoxLayout;

namespace skbscope::ui {

class StartPage : public CentrePage {
    Q_OBJECT

public:
    explicit StartPage(QWidget* parent = nullptr);
    void setContent(const std::vector<LessonEntry>& lessons, const QStringList& recent, bool hasModel);

signals:
    void lessonChosen(const QString& id);
    void fileChosen(const QString& path);
    void openWanted();
    void modelWanted();
    void liveWanted();

private:
    QVBoxLayout* m_column;
    QWidget* m_content = nullptr;
};

} // namespace skbscope::ui
