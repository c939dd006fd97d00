#pragma once
// One line under the top bar: an error, a remark, or work in progress with a way to cancel it. Never in the way.

#include <QWidget>

class QProgressBar;
class QPushButton;
class QTimer;
class QToolButton;

namespace skbscope::ui {

class Label;

class Banner : public QWidget {
    Q_OBJECT

public:
    explicit Banner(QWidget* parent = nullptr);
    void showError(const QString& words);
    /// Goes by itself after some seconds.
    void showRemark(const QString& words);
    void showProgress(const QString& words);
    /// Ends progress; errors and remarks stay.
    void endProgress();
    [[nodiscard]] QString words() const;

signals:
    void cancelled();

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    enum class Kind { error, remark, progress };
    void display(Kind kind, const QString& words);

    Kind m_kind = Kind::remark;
    Label* m_words;
    QProgressBar* m_bar;
    QPushButton* m_cancel;
    QToolButton* m_close;
    QTimer* m_timer;
};

} // namespace skbscope::ui
