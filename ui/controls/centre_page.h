#pragma once
// A page that stands in the middle of the window in place of the map: one column that scrolls, no wider than reads well.

#include <QWidget>

namespace skbscope::ui {

class CentrePage : public QWidget {
    Q_OBJECT

public:
    /// `widest`: of the column, pixels.
    explicit CentrePage(int widest, QWidget* parent = nullptr);

protected:
    void paintEvent(QPaintEvent* event) override;
    /// What the page itself fills; it has no layout yet.
    [[nodiscard]] QWidget* content() const { return m_content; }

private:
    QWidget* m_content;
};

} // namespace skbscope::ui
