#pragma once
// The lines of a run, where somebody asked "what if": each by name, the one that is shown marked, and in words what became
// different between two of them, down to the packets whose fate changed. Hidden while there is only one line.

#include "ui/player/session.h"

#include <QAbstractButton>
#include <QTimer>
#include <QWidget>
#include <vector>

class QPushButton;
class QVBoxLayout;

namespace skbscope::ui {

class Label;

/// One line of a run: its settings, where it parted, a mark if it is shown.
class BranchRow : public QAbstractButton {
    Q_OBJECT

public:
    BranchRow(const Branch& branch, bool shown, QWidget* parent);
    [[nodiscard]] QSize sizeHint() const override { return {160, 40}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {80, 40}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QString m_settings, m_place;
};

/// One packet whose fate changed: its number, how it ended before, how it ends now.
class FateRow : public QAbstractButton {
    Q_OBJECT

public:
    FateRow(const QString& packet, const QString& before, const QString& after, bool better, QWidget* parent);
    [[nodiscard]] QSize sizeHint() const override { return {160, 22}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {80, 22}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QString m_packet, m_before, m_after;
    bool m_better;
};

class BranchList : public QWidget {
    Q_OBJECT

public:
    /// The session outlives the list; null: nothing to show, ever.
    explicit BranchList(Session* session, QWidget* parent = nullptr);

    [[nodiscard]] const std::vector<BranchRow*>& rows() const { return m_rows; }
    [[nodiscard]] const std::vector<FateRow*>& fates() const { return m_fates; }
    [[nodiscard]] QString words() const;
    /// Compares now, if anything has happened since; does so by itself a moment after the run has changed.
    void compareNow();
    [[nodiscard]] QPushButton* wholeButton() const { return m_whole; }

private:
    void rebuild();
    void showDifference();
    void giveFocusToShown(); ///< to the row of the line that is shown
    [[nodiscard]] std::size_t other() const; ///< the line that the shown one is compared with

    Session* m_session;
    QVBoxLayout* m_column;
    QWidget* m_content = nullptr;
    std::vector<BranchRow*> m_rows;
    std::vector<FateRow*> m_fates;
    Label* m_heading = nullptr;
    Label* m_sentence = nullptr;
    Label* m_until = nullptr;
    QPushButton* m_whole = nullptr;
    QWidget* m_packets = nullptr;
    QTimer m_timer;
    bool m_all = false;                    ///< every packet is listed, not only the first
    std::vector<std::uint64_t> m_compared; ///< what the words speak of: lines and how far they had run
};

} // namespace skbscope::ui
