#pragma once
// A plain text editor for rules: line numbers, a figure beside each line, marks where the reader complains and where a
// packet was decided. Knows nothing of rules.

#include <QPlainTextEdit>
#include <map>
#include <optional>
#include <set>

namespace skbscope::ui {

class CodeEditor : public QPlainTextEdit {
    Q_OBJECT

public:
    explicit CodeEditor(QWidget* parent = nullptr);

    /// What stands beside a line: it keeps to its line while others are added above.
    struct Figure {
        QString words;   ///< "17"; "–": nothing is counted here
        QString tip;
        bool operator==(const Figure&) const = default;
    };
    /// A line's number is that of the block which it marked when it was set (tag()), wherever that stands now.
    void tag();
    void setFigures(std::map<int, Figure> byTag);
    [[nodiscard]] std::optional<Figure> figureAt(int line) const; ///< line from 1, as it stands now
    [[nodiscard]] int lineOf(int tag) const;                      ///< 0: it has been deleted

    struct Mark {
        int line = 0, column = 0; ///< from 1; column 0: the whole line
    };
    void setFault(std::optional<Mark> fault);
    [[nodiscard]] std::optional<Mark> fault() const { return m_fault; }
    /// Tags of lines that are tinted; the last of them strongest.
    void setDecided(std::set<int> tags, int last);
    [[nodiscard]] const std::set<int>& decided() const { return m_decided; }
    void goTo(Mark mark);

    /// Makes the text that one, and puts in only what differs: lines keep their tags, and the editor's own undo takes back no more than that.
    /// The cursor stands behind what is new.
    void changeTo(const QString& text);

    /// Both faint: what is written is not what they speak of.
    void setStale(bool stale);

    [[nodiscard]] int gutterWidth() const;
    void paintGutter(QPaintEvent* event);
    [[nodiscard]] QString gutterTip(QPoint at) const;

signals:
    void applyWanted();

protected:
    bool event(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void changeEvent(QEvent* event) override;

private:
    void layoutGutter();
    void refreshMarks();
    void restyle();
    void newLine();
    [[nodiscard]] int tagOf(const QTextBlock& block) const;
    [[nodiscard]] QTextBlock blockOfTag(int tag) const;

    QWidget* m_gutter;
    std::map<int, Figure> m_figures;
    std::optional<Mark> m_fault;
    std::set<int> m_decided;
    int m_lastDecided = 0;
    int m_figureWidth = 0;
    bool m_stale = false;
};

} // namespace skbscope::ui
