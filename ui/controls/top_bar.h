#pragma once
// The line on top of the window: what is open, the transport, the speed, the moment, and the search field.

#include "ui/controls/label.h"

#include <QToolButton>
#include <QWidget>

class QAction;
class QPushButton;
class QSlider;

namespace skbscope::ui {

class SearchBox;
class Session;

enum class Mode { none, model, live, recording, lesson };

class TopBar : public QWidget {
    Q_OBJECT

public:
    explicit TopBar(QWidget* parent = nullptr);

    void setSession(Session* session);
    void setMode(Mode mode);
    /// A recording or lesson can be gone back to only when there is one.
    void setAvailable(Mode mode, bool available, const QString& tip);
    [[nodiscard]] SearchBox* search() const { return m_search; }
    [[nodiscard]] QToolButton* menuButton() const { return m_menu; }
    /// The readout, for tests: exactly what is on the screen.
    [[nodiscard]] QString timeText() const { return m_time->text(); }

signals:
    void modeChosen(skbscope::ui::Mode mode);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    QToolButton* transport(const QString& words, const QString& tip);
    void refreshIcons();
    void refreshTime();
    void refreshSpeed();
    void refreshPlaying();

    Session* m_session = nullptr;
    QToolButton* m_menu;
    Label* m_logo;
    QPushButton* m_model;
    QPushButton* m_live;
    QPushButton* m_recording;
    QPushButton* m_lesson;
    QToolButton *m_begin, *m_backPacket, *m_backFunction, *m_play, *m_function, *m_packet, *m_end;
    Label* m_speedText;
    QSlider* m_speed;
    Label* m_time;
    SearchBox* m_search;
};

} // namespace skbscope::ui
