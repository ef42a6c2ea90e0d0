CREATE TYPE range_type_change_r AS RANGE (subtype = float8);
