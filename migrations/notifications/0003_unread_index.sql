-- An index of a partitioned table cannot be built CONCURRENTLY. So the parent's is made first, on no partition and
-- invalid; then each partition's; with the last one attached it becomes valid.
-- migrate:up transaction:false
CREATE INDEX notifications_notification_unread ON ONLY notifications_notification (user_id, created_at)
    WHERE read_at IS NULL;

CREATE INDEX CONCURRENTLY notifications_notification_2026_01_unread
    ON notifications_notification_2026_01 (user_id, created_at) WHERE read_at IS NULL;
CREATE INDEX CONCURRENTLY notifications_notification_2026_02_unread
    ON notifications_notification_2026_02 (user_id, created_at) WHERE read_at IS NULL;
CREATE INDEX CONCURRENTLY notifications_notification_2026_03_unread
    ON notifications_notification_2026_03 (user_id, created_at) WHERE read_at IS NULL;
CREATE INDEX CONCURRENTLY notifications_notification_2026_04_unread
    ON notifications_notification_2026_04 (user_id, created_at) WHERE read_at IS NULL;
CREATE INDEX CONCURRENTLY notifications_notification_default_unread
    ON notifications_notification_default (user_id, created_at) WHERE read_at IS NULL;

ALTER INDEX notifications_notification_unread ATTACH PARTITION notifications_notification_2026_01_unread;
ALTER INDEX notifications_notification_unread ATTACH PARTITION notifications_notification_2026_02_unread;
ALTER INDEX notifications_notification_unread ATTACH PARTITION notifications_notification_2026_03_unread;
ALTER INDEX notifications_notification_unread ATTACH PARTITION notifications_notification_2026_04_unread;
ALTER INDEX notifications_notification_unread ATTACH PARTITION notifications_notification_default_unread;

-- migrate:down
DROP INDEX notifications_notification_unread;
