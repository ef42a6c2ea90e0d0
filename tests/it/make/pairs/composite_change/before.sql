CREATE TYPE composite_change_p AS (x int, y int);
