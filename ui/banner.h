#pragma once
// What the window has to say by itself. Banner: one line under the top bar, an error or work in progress with a way to cancel
// it. Toast: a remark that floats over the map for some seconds and moves nothing.

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
    /// With a bar that only moves; setProgress() then says how far it is.
    void showProgress(const QString& words);
    /// 0 to 100, below 0: not known. `remark` stands behind the words, and may be empty. Nothing while no progress is shown.
    void setProgress(int percent, const QString& remark);
    /// Ends progress; an error stays.
    void endProgress();
    [[nodiscard]] QString words() const;

signals:
    void cancelled();

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    enum class Kind { error, progress };
    void display(Kind kind, const QString& words);

    Kind m_kind = Kind::error;
    QString m_work; ///< what is in progress
    Label* m_words;
    QProgressBar* m_bar;
    QPushButton* m_cancel;
    QToolButton* m_close;
};

class Toast : public QWidget {
    Q_OBJECT

public:
    /// Floats at the foot of its parent.
    explicit Toast(QWidget* parent);
    [[nodiscard]] QString words() const { return isHidden() ? QString() : m_words; }

public slots:
    void say(const QString& words);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QString m_words;
    QTimer* m_timer;
};

} // namespace skbscope::ui
