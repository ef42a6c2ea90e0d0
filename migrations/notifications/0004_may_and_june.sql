-- Rows of these months that wait in the default partition move: PostgreSQL refuses a partition that would hide them.
-- allow: drop-table the way back moves the rows to the default partition first
-- migrate:up
CREATE TABLE notifications_notification_2026_05
    (LIKE notifications_notification INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
CREATE TABLE notifications_notification_2026_06
    (LIKE notifications_notification INCLUDING DEFAULTS INCLUDING CONSTRAINTS);

WITH moved AS (
    DELETE FROM notifications_notification_default
    WHERE created_at >= '2026-05-01 00:00+02' AND created_at < '2026-06-01 00:00+02'
    RETURNING *
)
INSERT INTO notifications_notification_2026_05 SELECT * FROM moved;

WITH moved AS (
    DELETE FROM notifications_notification_default
    WHERE created_at >= '2026-06-01 00:00+02' AND created_at < '2026-07-01 00:00+02'
    RETURNING *
)
INSERT INTO notifications_notification_2026_06 SELECT * FROM moved;

ALTER TABLE notifications_notification ATTACH PARTITION notifications_notification_2026_05
    FOR VALUES FROM ('2026-05-01 00:00+02') TO ('2026-06-01 00:00+02');
ALTER TABLE notifications_notification ATTACH PARTITION notifications_notification_2026_06
    FOR VALUES FROM ('2026-06-01 00:00+02') TO ('2026-07-01 00:00+02');

-- migrate:down
ALTER TABLE notifications_notification DETACH PARTITION notifications_notification_2026_06;
ALTER TABLE notifications_notification DETACH PARTITION notifications_notification_2026_05;

INSERT INTO notifications_notification SELECT * FROM notifications_notification_2026_05;
INSERT INTO notifications_notification SELECT * FROM notifications_notification_2026_06;

DROP TABLE notifications_notification_2026_06;
DROP TABLE notifications_notification_2026_05;
