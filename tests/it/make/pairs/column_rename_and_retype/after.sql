-- make: --rename column_rename_and_retype_x.a=c
CREATE TABLE column_rename_and_retype_x (c bigint, b int);
