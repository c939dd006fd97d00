#pragma once
// A packet's bytes: the header tree and the hex dump, each lighting up what the other points at.

#include "core/packet/dissect.h"
#include "core/trace/trace.h"

#include <QWidget>
#include <vector>

class QTreeWidget;
class QTreeWidgetItem;

namespace skbscope::ui {

class Label;
class Session;

/// The dump. Bytes are numbered from the frame's first.
class HexDump : public QWidget {
    Q_OBJECT

public:
    explicit HexDump(QWidget* parent = nullptr);
    void setBytes(std::vector<std::uint8_t> bytes);
    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return m_bytes; }
    /// Lights up [offset, offset + length).
    void highlight(std::size_t offset, std::size_t length);
    /// Bytes that the current step has changed, in green.
    void setChanged(std::size_t offset, std::size_t length);
    /// The first bytes are not written yet: a sent packet's headers come one after the other.
    void setPending(std::size_t bytes);
    /// "0000  45 00 …": for the clipboard.
    [[nodiscard]] QString asText() const;
    [[nodiscard]] bool hasHeightForWidth() const override { return true; }
    [[nodiscard]] int heightForWidth(int width) const override;
    [[nodiscard]] QSize sizeHint() const override;

signals:
    void byteClicked(std::size_t offset);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    [[nodiscard]] int perRow(int width) const;
    std::vector<std::uint8_t> m_bytes;
    std::size_t m_from = 0, m_length = 0;
    std::size_t m_changedFrom = 0, m_changedLength = 0;
    std::size_t m_pending = 0;
};

class PacketView : public QWidget {
    Q_OBJECT

public:
    explicit PacketView(QWidget* parent = nullptr);
    void setSession(Session* session);
    [[nodiscard]] QString asText() const;

public slots:
    void refresh();

private:
    void show(std::vector<std::uint8_t> bytes);
    void selectByte(std::size_t offset);

    Session* m_session = nullptr;
    PacketId m_packet = PacketId::none;
    std::size_t m_event = 0;
    std::vector<std::uint8_t> m_shown;
    std::size_t m_wireLength = 0;
    std::size_t m_pending = 0; ///< leading bytes of m_shown that the stack has not written yet
    std::vector<DissectedLayer> m_layers;
    QTreeWidget* m_tree;
    HexDump* m_dump;
    Label* m_nothing;
    Label* m_note;
};

} // namespace skbscope::ui
