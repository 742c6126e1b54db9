"""From events to people: messages, the outbox, MQTT, clips, the privacy gate and storage."""
