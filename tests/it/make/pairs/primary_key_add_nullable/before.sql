CREATE TABLE primary_key_add_nullable_x (id int);
