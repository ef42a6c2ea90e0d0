CREATE TYPE enum_remove_value_array_e AS ENUM ('a', 'b', 'c');
CREATE TABLE enum_remove_value_array_o (x enum_remove_value_array_e[] DEFAULT '{a}');
