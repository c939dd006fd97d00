#pragma once
// What has to stay in sight while a live source runs: that it runs, how fast events come, how many were lost, what it
// costs; follow and pause, and stop. Hidden for sources that are not live.

#include <QWidget>

class QPushButton;

namespace skbscope::ui {

class Label;
class Session;

class LiveStrip : public QWidget {
    Q_OBJECT

public:
    explicit LiveStrip(QWidget* parent = nullptr);
    void setSession(Session* session);
    /// Exactly what is on the screen, for tests.
    [[nodiscard]] QString words() const;
    [[nodiscard]] QPushButton* followButton() const { return m_follow; }
    [[nodiscard]] QPushButton* stopButton() const { return m_stop; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void refresh();

    Session* m_session = nullptr;
    Label* m_state;
    Label* m_rate;
    Label* m_lost;
    Label* m_cost;
    Label* m_rest;
    QPushButton* m_follow;
    QPushButton* m_stop;
};

} // namespace skbscope::ui
