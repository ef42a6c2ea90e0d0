CREATE TABLE tables_that_refer_to_each_other_drop_c (id int PRIMARY KEY);
