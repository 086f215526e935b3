%solution%

   function Emit (Value : Long_Long_Integer) return String is
   begin
      return "i" & Ada.Strings.Fixed.Trim (Long_Long_Integer'Image (Value), Ada.Strings.Both);
   end Emit;

   function Emit (Value : Long_Float) return String is
   begin
      return "f" & Ada.Strings.Fixed.Trim (Long_Float'Image (Value), Ada.Strings.Both);
   end Emit;

   function Emit (Value : Boolean) return String is
   begin
      return (if Value then "b1" else "b0");
   end Emit;

   function Emit (Value : String) return String is
      Digit : constant array (0 .. 15) of Character :=
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f');
      Text  : String (1 .. 2 * Value'Length);
      At_Now : Natural := 0;
   begin
      for Part of Value loop
         Text (At_Now + 1) := Digit (Character'Pos (Part) / 16);
         Text (At_Now + 2) := Digit (Character'Pos (Part) mod 16);
         At_Now := At_Now + 2;
      end loop;
      return "s" & Text;
   end Emit;

   function Without_Comma (Text : Ada.Strings.Unbounded.Unbounded_String) return String is
      Whole : constant String := Ada.Strings.Unbounded.To_String (Text);
   begin
      return Whole (Whole'First + 1 .. Whole'Last);
   end Without_Comma;

%support%
   Answers : Ada.Strings.Unbounded.Unbounded_String;

   procedure Answer (Text : String) is
   begin
      if Ada.Strings.Unbounded.Length (Answers) > 0 then
         Ada.Strings.Unbounded.Append (Answers, ";");
      end if;
      Ada.Strings.Unbounded.Append (Answers, Text);
   end Answer;

begin
%cases%
   declare
      Nonce : constant String := Ada.Text_IO.Get_Line;
   begin
      Ada.Text_IO.New_Line;
      Ada.Text_IO.Put_Line (Nonce & " " & Ada.Strings.Unbounded.To_String (Answers));
   end;
end Main;
