#pragma once
// What covers the window while work goes on in the source on another thread: a still picture of the window, what is being
// done, how far it has come, and a way to stop it. Nothing behind it may look at the source meanwhile, so it also keeps keys
// and the mouse from what it covers.

#include <QPixmap>
#include <QPointer>
#include <QTimer>
#include <QWidget>
#include <functional>
#include <utility>
#include <vector>

class QProgressBar;
class QPushButton;

namespace skbscope::ui {

class Label;
struct Work;

class BusyCurtain : public QWidget {
    Q_OBJECT

public:
    /// Covers the parent until it is destroyed. The work outlives it.
    BusyCurtain(const QString& what, Work& work, QWidget* parent);
    ~BusyCurtain() override;
    [[nodiscard]] QPushButton* cancelButton() const { return m_cancel; }

protected:
    void paintEvent(QPaintEvent* event) override;
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    void refresh();

    Work& m_work;
    QPixmap m_still;
    std::vector<QPointer<QWidget>> m_silenced;
    std::pair<QSize, QSize> m_sizes; ///< smallest and largest of the parent, as they were
    QWidget* m_card;
    QProgressBar* m_bar;
    Label* m_progress;
    QPushButton* m_cancel;
    QTimer m_timer;
};

/// Does the work on another thread and returns when it is over. The window stays alive; it is covered if the work takes
/// longer than a blink.
void runBehindCurtain(QWidget* window, const QString& what, const std::function<void(Work&)>& work, Work& state);

} // namespace skbscope::ui
