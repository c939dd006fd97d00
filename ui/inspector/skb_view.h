#pragma once
// The sk_buff at the playhead: the drawing of its memory, what this step changed, its fields.

#include "core/trace/stack_state.h"

#include <QWidget>
#include <optional>
#include <vector>

class QScrollArea;
class QVBoxLayout;

namespace skbscope::ui {

class JourneyView;
class Label;
class Session;

/// A piece of the data buffer. Offsets from skb->head.
struct SkbPart {
    enum class Kind { headroom, mac, network, transport, payload, tailroom, shinfo, other } kind = Kind::other;
    QString name;
    std::uint64_t from = 0, to = 0;
};

/// The pieces in order of memory, without empty ones. Empty when the image does not know head, data and tail.
[[nodiscard]] std::vector<SkbPart> skbParts(const SkbImage& image);

/// "data += 14, network_header set". Bytes are named by the header field they lie in.
[[nodiscard]] QString changesText(const Trace& trace, const std::vector<FieldChange>& changes);

/// The rows of the field table: name and value as the kernel would say it.
struct SkbFieldRow {
    QString name, value;
    bool changed = false;
};
[[nodiscard]] std::vector<SkbFieldRow> skbFields(const Trace& trace, const SkbImage& image);

class SkbDrawing : public QWidget {
    Q_OBJECT

public:
    explicit SkbDrawing(QWidget* parent = nullptr);
    void setImage(const SkbImage& image);
    [[nodiscard]] QSize sizeHint() const override { return {320, 72}; }

protected:
    void paintEvent(QPaintEvent* event) override;
    bool event(QEvent* event) override;

private:
    [[nodiscard]] std::vector<qreal> edges() const;
    [[nodiscard]] std::optional<qreal> placeOf(std::uint64_t offset, const std::vector<qreal>& edges) const;
    SkbImage m_image;
    std::vector<SkbPart> m_parts;
};

class SkbFieldTable : public QWidget {
    Q_OBJECT

public:
    explicit SkbFieldTable(QWidget* parent = nullptr);
    void setRows(std::vector<SkbFieldRow> rows);
    [[nodiscard]] const std::vector<SkbFieldRow>& rows() const { return m_rows; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    std::vector<SkbFieldRow> m_rows;
};

class SkbView : public QWidget {
    Q_OBJECT

public:
    explicit SkbView(QWidget* parent = nullptr);
    void setSession(Session* session);
    [[nodiscard]] JourneyView* journey() const { return m_journey; }
    [[nodiscard]] const SkbImage& image() const { return m_image; }
    [[nodiscard]] QString asText() const;

public slots:
    void refresh();

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    void fitJourney();
    Session* m_session = nullptr;
    QScrollArea* m_scroll;
    PacketId m_packet = PacketId::none;
    std::size_t m_event = 0;
    std::size_t m_traceEvents = 0;
    SkbImage m_image;
    Label* m_nothing;
    SkbDrawing* m_drawing;
    Label* m_changed;
    SkbFieldTable* m_fields;
    QVBoxLayout* m_column;
    QWidget* m_journeyHead;
    JourneyView* m_journey;
};

} // namespace skbscope::ui
