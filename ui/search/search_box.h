#pragma once
// The search field and its list. Enter selects what is marked and moves the playhead to it; Escape leaves.

#include <QLineEdit>
#include <QListWidget>
#include <QPointer>
#include <vector>


namespace skbscope::ui {

class Session;
struct Found;

class SearchBox : public QLineEdit {
    Q_OBJECT

public:
    explicit SearchBox(QWidget* parent = nullptr);
    ~SearchBox() override;
    void setSession(Session* session);
    [[nodiscard]] const std::vector<Found>& found() const { return m_found; }
    /// As Enter on that row does.
    void choose(int row);

signals:
    void chosen(); ///< something of the session: what shows it should be in sight
    void settingChosen(const QString& name);

protected:
    void keyPressEvent(QKeyEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void moveEvent(QMoveEvent* event) override;

private:
    void refresh();
    void place();
    void leave();

    Session* m_session = nullptr;
    QPointer<QListWidget> m_list; ///< a child of the window once it was shown
    std::vector<Found> m_found;
};

} // namespace skbscope::ui
