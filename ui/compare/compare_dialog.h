#pragma once
// What is open laid beside another trace: a model beside a recording, two recordings, a run before and after. Which packets met another
// end, which took another way, and the first call at which two ways part.

#include "core/compare/compare.h"

#include <QDialog>
#include <vector>

class QListWidget;
class QPlainTextEdit;

namespace skbscope::ui {

class Label;

/// One of the two sides. What it points at outlives the dialog and stands still meanwhile.
struct ComparedSide {
    QString name;
    const Trace* trace = nullptr;
    const JourneyIndex* journeys = nullptr;
};

class CompareDialog : public QDialog {
    Q_OBJECT

public:
    CompareDialog(ComparedSide a, ComparedSide b, Comparison comparison, QWidget* parent = nullptr);

    [[nodiscard]] QString sentence() const;
    [[nodiscard]] QListWidget* list() const { return m_list; }
    /// The calls of the chosen packet in two columns; the cursor stands in the first line that differs.
    [[nodiscard]] QPlainTextEdit* calls() const { return m_calls; }
    /// Chooses the packet of A, if it is listed.
    void choose(PacketId inA);

signals:
    /// A packet of A was chosen.
    void packetChosen(skbscope::PacketId packet);

private:
    void fill();
    void add(PacketPair pair, const QString& words, bool differs);
    void showCalls(int row);

    ComparedSide m_a, m_b;
    Comparison m_comparison;
    std::vector<PacketPair> m_pairs; ///< of the list's rows
    Label* m_sentence;
    QListWidget* m_list;
    QPlainTextEdit* m_calls;
};

} // namespace skbscope::ui
