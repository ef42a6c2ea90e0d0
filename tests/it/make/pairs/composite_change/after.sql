CREATE TYPE composite_change_p AS (x bigint, z text);
