CREATE TABLE tables_that_refer_to_each_other_drop_a (id int PRIMARY KEY, b int);
CREATE TABLE tables_that_refer_to_each_other_drop_b (id int PRIMARY KEY, a int REFERENCES tables_that_refer_to_each_other_drop_a);
ALTER TABLE tables_that_refer_to_each_other_drop_a ADD CONSTRAINT tables_that_refer_to_each_other_drop_a_b_fk FOREIGN KEY (b) REFERENCES tables_that_refer_to_each_other_drop_b;
