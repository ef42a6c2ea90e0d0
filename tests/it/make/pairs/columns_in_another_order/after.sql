CREATE TABLE columns_in_another_order_x (b int, a int, c int);
